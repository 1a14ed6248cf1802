#if canImport(CoreGraphics)
import CoreGraphics

extension RGBImage {
    /// Read an upright image; apply `UIImage.imageOrientation` or the EXIF orientation first.
    ///
    /// Colours are converted to sRGB.
    ///
    /// - Throws: `MobileSAMError` where there is no memory for the pixels.
    public init(_ image: CGImage) throws {
        let width = image.width, height = image.height
        var rgbx = [UInt8](repeating: 0, count: height * width * 4)
        let drawn = rgbx.withUnsafeMutableBytes { bytes -> Bool in
            guard
                let space = CGColorSpace(name: CGColorSpace.sRGB),
                let context = CGContext(
                    data: bytes.baseAddress, width: width, height: height, bitsPerComponent: 8,
                    bytesPerRow: width * 4, space: space,
                    bitmapInfo: CGImageAlphaInfo.noneSkipLast.rawValue)
            else { return false }
            // No scaling here: CoreGraphics' filter is not the one the model was trained with.
            context.draw(image, in: CGRect(x: 0, y: 0, width: width, height: height))
            return true
        }
        guard drawn else {
            throw MobileSAMError("No bitmap of \(width)x\(height) could be made: use a smaller photo.")
        }
        var rgb = [UInt8](repeating: 0, count: height * width * 3)
        for pixel in 0..<(height * width) {
            for channel in 0..<3 { rgb[pixel * 3 + channel] = rgbx[pixel * 4 + channel] }
        }
        self.init(height: height, width: width, pixels: rgb)
    }
}
#endif
