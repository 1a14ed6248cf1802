/// The frame as rows of B, G, R, A bytes, which an encoder that takes an image reads.
///
/// Such an encoder's graph subtracts each channel's mean and divides by its standard deviation, so
/// that the bytes stay as they are.
///
/// - Parameters:
///   - planes: R, G and B with whole values 0 to 255, as `planes(of:in:normalized:)` makes.
///   - bytes: `side` rows of `bytesPerRow` bytes, of which the first `4 * side` are written.
func writeBGRA(
    planes: [Float], side: Int, to bytes: UnsafeMutableRawBufferPointer, bytesPerRow: Int
) {
    for row in 0..<side {
        for column in 0..<side {
            let pixel = row * bytesPerRow + column * 4
            for channel in 0..<3 {
                bytes[pixel + 2 - channel] = UInt8(planes[(channel * side + row) * side + column])
            }
            bytes[pixel + 3] = 255
        }
    }
}

extension RGBImage {
    /// Read rows of B, G, R, A bytes, which may have bytes of padding at their ends.
    init(bgra bytes: UnsafeRawBufferPointer, height: Int, width: Int, bytesPerRow: Int) {
        var rgb = [UInt8](repeating: 0, count: height * width * 3)
        for row in 0..<height {
            for column in 0..<width {
                for channel in 0..<3 {
                    rgb[(row * width + column) * 3 + channel] =
                        bytes[row * bytesPerRow + column * 4 + 2 - channel]
                }
            }
        }
        self.init(height: height, width: width, pixels: rgb)
    }
}
