/// An image as rows of R, G, B, 0 to 255.
public struct RGBImage: Equatable {
    public let height: Int
    public let width: Int
    /// height * width * 3 values.
    public let pixels: [UInt8]

    public init(height: Int, width: Int, pixels: [UInt8]) {
        precondition(pixels.count == height * width * 3, "an image has three values a pixel")
        self.height = height
        self.width = width
        self.pixels = pixels
    }

    /// Scaled to the frame's valid size: Pillow's `resize` with `BILINEAR`, bit for bit.
    ///
    /// Across first, then down, each rounded to 8 bits. Pillow 13 takes the other order for some
    /// tall, narrow photos, whose values then differ by one level.
    func scaled(to frame: Frame) -> RGBImage {
        var image = self
        if frame.validWidth != width { image = image.scaledAcross(to: frame.validWidth) }
        if frame.validHeight != height { image = image.scaledDown(to: frame.validHeight) }
        return image
    }

    private func scaledAcross(to newWidth: Int) -> RGBImage {
        let filter = antialiasingFilter(from: width, to: newWidth)
        var result = [UInt8](repeating: 0, count: height * newWidth * 3)
        pixels.withUnsafeBufferPointer { old in
            for row in 0..<height {
                for (column, tap) in filter.enumerated() {
                    for channel in 0..<3 {
                        var position = (row * width + tap.first) * 3 + channel
                        var sum = roundingHalf
                        for weight in tap.weights {
                            sum += weight * Int(old[position])
                            position += 3
                        }
                        result[(row * newWidth + column) * 3 + channel] = UInt8(sum >> fractionBits)
                    }
                }
            }
        }
        return RGBImage(height: height, width: newWidth, pixels: result)
    }

    private func scaledDown(to newHeight: Int) -> RGBImage {
        let length = width * 3
        var result = [UInt8](repeating: 0, count: newHeight * length)
        var sums = [Int](repeating: 0, count: length)
        pixels.withUnsafeBufferPointer { old in
            for (row, tap) in antialiasingFilter(from: height, to: newHeight).enumerated() {
                for index in 0..<length { sums[index] = roundingHalf }
                for (offset, weight) in tap.weights.enumerated() {
                    let start = (tap.first + offset) * length
                    for index in 0..<length { sums[index] += weight * Int(old[start + index]) }
                }
                for index in 0..<length {
                    result[row * length + index] = UInt8(sums[index] >> fractionBits)
                }
            }
        }
        return RGBImage(height: newHeight, width: width, pixels: result)
    }
}

/// Weights are integers of 2^-22.
private let fractionBits = 22
private let roundingHalf = 1 << (fractionBits - 1)

/// For every new position the first old one it sees, and their weights.
///
/// A triangle of half-width `reach` around the new pixel's centre; shrinking widens it with the
/// factor, which is the antialiasing. Weights are normalised, then rounded to fixed point.
private func antialiasingFilter(from old: Int, to new: Int) -> [(first: Int, weights: [Int])] {
    let scale = Double(old) / Double(new), reach = max(scale, 1)
    return (0..<new).map { index in
        let centre = (Double(index) + 0.5) * scale
        let first = max(0, Int(centre - reach + 0.5))
        let end = min(old, Int(centre + reach + 0.5))
        let weights = (first..<end).map { position in
            max(0, 1 - abs((Double(position) - centre + 0.5) * (1 / reach)))
        }
        let total = weights.reduce(0, +)
        return (first, weights.map { Int($0 / total * Double(1 << fractionBits) + 0.5) })
    }
}
