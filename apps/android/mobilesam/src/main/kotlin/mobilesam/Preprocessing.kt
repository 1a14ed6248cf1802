package mobilesam

/**
 * The encoder's `image` `[1, 3, S, S]`, flat: planes of R, G and B, row by row.
 *
 * @param image of the frame's valid size; it lies at the top left and the rest is zero.
 * @param normalized subtract the mean and divide by the standard deviation, *then* pad (input
 *     variant `normalized`); else values stay 0 to 255 and the graph does both.
 */
internal fun planes(image: RgbImage, frame: Frame, normalized: Boolean): FloatArray {
    requireScaled(image, frame)
    val side = frame.side
    val values = FloatArray(3 * side * side)
    for (channel in 0 until 3) {
        val mean = if (normalized) PixelStatistics.MEAN[channel] else 0f
        val std = if (normalized) PixelStatistics.STD[channel] else 1f
        for (row in 0 until image.height) {
            val source = row * image.width * 3 + channel
            val target = (channel * side + row) * side
            for (column in 0 until image.width) {
                val value = image.pixels[source + column * 3].toInt() and 0xff
                values[target + column] = (value - mean) / std
            }
        }
    }
    return values
}

/**
 * The encoder's `image` `[1, S, S, C]` of input variant `uint8`, flat: the values of a pixel side by
 * side, row by row.
 *
 * @param image as of [planes]; the rest of the frame is not read.
 * @param order of the values: `rgb`, `bgr` or `rgba`, whose fourth is opaque and not read.
 */
internal fun interleaved(image: RgbImage, frame: Frame, order: String): ByteArray {
    requireScaled(image, frame)
    val values = ByteArray(frame.side * frame.side * order.length)
    order.forEachIndexed { place, name ->
        val channel = "rgb".indexOf(name)
        for (row in 0 until image.height) for (column in 0 until image.width) {
            val target = (row * frame.side + column) * order.length + place
            val source = (row * image.width + column) * 3 + channel
            values[target] = if (channel < 0) OPAQUE else image.pixels[source]
        }
    }
    return values
}

private const val OPAQUE: Byte = -1 // 255

private fun requireScaled(image: RgbImage, frame: Frame) =
    require(image.height == frame.validHeight && image.width == frame.validWidth) {
        "the image must be scaled to the frame first"
    }
