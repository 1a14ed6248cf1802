// Not built here: there was no Mac. Written to Apple's documentation of SwiftUI and PhotosUI.

import PhotosUI
import SwiftUI

/// One screen: a photo, a tap or a dragged box, and the mask over it.
struct SegmentationView: View {
    @StateObject private var model = SegmentationModel()
    @State private var picked: PhotosPickerItem?
    @State private var isForeground = true
    @State private var box: CGRect?

    var body: some View {
        VStack {
            GeometryReader { area in
                if let photo = model.photo {
                    picture(photo, in: fitted(photo.size, into: area.size))
                }
            }
            Text(model.message)
            Picker("A tap means", selection: $isForeground) {
                Text("Object").tag(true)
                Text("Background").tag(false)
            }
            .pickerStyle(.segmented)
            HStack {
                PhotosPicker("Photo", selection: $picked, matching: .images)
                Spacer()
                Button("Start again") { model.clear() }
            }
        }
        .padding()
        .task { await model.load(bundle: "coreml-fp16") }
        .onChange(of: picked) { item in
            Task {
                if let data = try? await item?.loadTransferable(type: Data.self),
                    let image = UIImage(data: data)
                {
                    await model.show(image)
                }
            }
        }
    }

    /// - Parameter place: where the photo lies on the screen.
    private func picture(_ photo: UIImage, in place: CGRect) -> some View {
        ZStack(alignment: .topLeading) {
            Image(uiImage: photo).resizable()
            if let overlay = model.overlay {
                Image(uiImage: overlay).resizable()
            }
            if let box {
                Rectangle().stroke(.yellow, lineWidth: 2)
                    .frame(width: box.width, height: box.height)
                    .offset(x: box.minX, y: box.minY)
            }
        }
        .frame(width: place.width, height: place.height)
        .contentShape(Rectangle())
        .gesture(pointing(at: photo, in: place.size))
        .offset(x: place.minX, y: place.minY)
    }

    /// A finger that hardly moves is a tap; one that moves draws a box.
    private func pointing(at photo: UIImage, in size: CGSize) -> some Gesture {
        let factor = photo.size.width / size.width
        return DragGesture(minimumDistance: 0)
            .onChanged { drag in
                let dragged = rectangle(drag, within: size)
                box = max(dragged.width, dragged.height) > 10 ? dragged : nil
            }
            .onEnded { drag in
                let finished = box
                box = nil
                Task {
                    if let finished {
                        await model.drag(finished.applying(.init(scaleX: factor, y: factor)))
                    } else {
                        await model.tap(
                            CGPoint(x: drag.location.x * factor, y: drag.location.y * factor),
                            isForeground: isForeground)
                    }
                }
            }
    }

    private func rectangle(_ drag: DragGesture.Value, within size: CGSize) -> CGRect {
        let one = drag.startLocation, other = drag.location
        return CGRect(
            x: min(one.x, other.x), y: min(one.y, other.y),
            width: abs(one.x - other.x), height: abs(one.y - other.y)
        ).intersection(CGRect(origin: .zero, size: size))
    }

    private func fitted(_ photo: CGSize, into area: CGSize) -> CGRect {
        let scale = min(area.width / photo.width, area.height / photo.height)
        let size = CGSize(width: photo.width * scale, height: photo.height * scale)
        return CGRect(
            x: (area.width - size.width) / 2, y: (area.height - size.height) / 2,
            width: size.width, height: size.height)
    }
}
