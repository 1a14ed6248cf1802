// Not built here: there was no Mac. Written to Apple's documentation.

import MobileSAM
import SwiftUI

/// The photo on the screen, what the user pointed at, and the mask that answers it.
@MainActor
final class SegmentationModel: ObservableObject {
    @Published private(set) var photo: UIImage?
    @Published private(set) var overlay: UIImage?
    @Published private(set) var message = "Loading the bundle ..."
    @Published private(set) var prompt = Prompt()

    private let worker = Worker()

    /// The bundle's folder lies in the app as a folder reference of that name.
    func load(bundle name: String) async {
        do {
            guard let url = Bundle.main.url(forResource: name, withExtension: nil) else {
                message = "The app has no folder '\(name)': add the bundle as a folder reference."
                return
            }
            try await worker.load(url)
            message = "Choose a photo."
        } catch {
            message = error.localizedDescription
        }
    }

    func show(_ image: UIImage) async {
        let upright = image.upright()
        photo = upright
        clear()
        guard let pixels = upright.cgImage else {
            message = "The photo has no pixels that can be read: choose another."
            return
        }
        message = "Looking at the photo ..."
        do {
            try await worker.encode(pixels)
            message = "Tap what you want, or drag a box around it."
        } catch {
            message = error.localizedDescription
        }
    }

    /// Add a point, in pixels of the photo.
    func tap(_ place: CGPoint, isForeground: Bool) async {
        prompt.points.append(
            Prompt.Point(x: Float(place.x), y: Float(place.y), isForeground: isForeground))
        await answer()
    }

    /// Ask about a box, in pixels of the photo.
    func drag(_ box: CGRect) async {
        prompt.box = Prompt.Box(
            x1: Float(box.minX), y1: Float(box.minY), x2: Float(box.maxX), y2: Float(box.maxY))
        await answer()
    }

    func clear() {
        prompt = Prompt()
        overlay = nil
    }

    private func answer() async {
        do {
            overlay = try await worker.overlay(prompt)
            message = ""
        } catch {
            message = error.localizedDescription
        }
    }
}

/// Both models, away from the main thread.
private actor Worker {
    private var segmenter: Segmenter?
    private var encoded: EncodedPhoto?

    func load(_ bundle: URL) async throws {
        segmenter = try await Segmenter(bundle: bundle, computeUnits: .all)
    }

    func encode(_ image: CGImage) throws {
        encoded = try segmenter?.encode(image)
    }

    /// The mask as an image of the photo's size: blue where it is, else clear.
    func overlay(_ prompt: Prompt) throws -> UIImage? {
        guard let segmenter, let encoded else { return nil }
        let mask = try segmenter.answer(prompt, on: encoded).mask()
        let frame = encoded.frame
        var rgba = [UInt8](repeating: 0, count: 4 * mask.count)
        for index in mask.indices where mask[index] {
            // The colour is multiplied by its alpha, as the bitmap says.
            rgba[4 * index + 1] = 60
            rgba[4 * index + 2] = 128
            rgba[4 * index + 3] = 128
        }
        guard let provider = CGDataProvider(data: Data(rgba) as CFData),
            let image = CGImage(
                width: frame.width, height: frame.height, bitsPerComponent: 8, bitsPerPixel: 32,
                bytesPerRow: 4 * frame.width, space: CGColorSpaceCreateDeviceRGB(),
                bitmapInfo: CGBitmapInfo(rawValue: CGImageAlphaInfo.premultipliedLast.rawValue),
                provider: provider, decode: nil, shouldInterpolate: false,
                intent: .defaultIntent)
        else { return nil }
        return UIImage(cgImage: image)
    }
}

extension UIImage {
    /// Pixels as they are seen: a photo's own may lie on their side.
    fileprivate func upright() -> UIImage {
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        let size = CGSize(width: size.width * scale, height: size.height * scale)
        return UIGraphicsImageRenderer(size: size, format: format).image { _ in
            draw(in: CGRect(origin: .zero, size: size))
        }
    }
}
