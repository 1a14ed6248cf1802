// Not built here: there was no Mac. Written to Apple's documentation of SwiftUI and PhotosUI.

import SwiftUI

@main
struct SampleApp: App {
    var body: some Scene {
        WindowGroup { SegmentationView() }
    }
}
