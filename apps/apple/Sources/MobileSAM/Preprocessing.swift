/// The encoder's `image` [1, 3, S, S], flat: planes of R, G and B, row by row.
///
/// The image must have the frame's valid size; it lies at the top left and the rest is zero.
///
/// - Parameter normalized: subtract the mean and divide by the standard deviation, *then* pad
///   (input variant `normalized`); else values stay 0 to 255 and the graph does both.
func planes(of image: RGBImage, in frame: Frame, normalized: Bool) -> [Float] {
    precondition(
        image.height == frame.validHeight && image.width == frame.validWidth,
        "the image must be scaled to the frame first")
    let side = frame.side
    var values = [Float](repeating: 0, count: 3 * side * side)
    for channel in 0..<3 {
        let mean = normalized ? PixelStatistics.mean[channel] : 0
        let std = normalized ? PixelStatistics.std[channel] : 1
        for row in 0..<image.height {
            let source = row * image.width * 3 + channel
            let target = (channel * side + row) * side
            for column in 0..<image.width {
                values[target + column] = (Float(image.pixels[source + column * 3]) - mean) / std
            }
        }
    }
    return values
}
