package mobilesam

/**
 * An image as rows of R, G, B.
 *
 * @property pixels height * width * 3 values, 0 to 255 as unsigned bytes.
 */
class RgbImage(val height: Int, val width: Int, val pixels: ByteArray) {
    init {
        require(pixels.size == height * width * 3) { "an image has three values a pixel" }
    }

    /**
     * Scaled to the frame's valid size: Pillow's `resize` with `BILINEAR`, bit for bit.
     *
     * Across first, then down, each rounded to 8 bits. Pillow 13 takes the other order for some
     * tall, narrow photos, whose values then differ by one level.
     */
    internal fun scaledTo(frame: Frame): RgbImage {
        var image = this
        if (frame.validWidth != width) image = image.scaledAcross(frame.validWidth)
        if (frame.validHeight != height) image = image.scaledDown(frame.validHeight)
        return image
    }

    private fun scaledAcross(newWidth: Int): RgbImage {
        val filter = antialiasingFilter(width, newWidth)
        val result = ByteArray(height * newWidth * 3)
        for (row in 0 until height) for (column in 0 until newWidth) {
            val tap = filter[column]
            for (channel in 0 until 3) {
                var position = (row * width + tap.first) * 3 + channel
                var sum = ROUNDING_HALF
                for (weight in tap.weights) {
                    sum += weight * (pixels[position].toInt() and 0xff)
                    position += 3
                }
                result[(row * newWidth + column) * 3 + channel] = (sum shr FRACTION_BITS).toByte()
            }
        }
        return RgbImage(height, newWidth, result)
    }

    private fun scaledDown(newHeight: Int): RgbImage {
        val length = width * 3
        val result = ByteArray(newHeight * length)
        antialiasingFilter(height, newHeight).forEachIndexed { row, tap ->
            val sums = IntArray(length) { ROUNDING_HALF }
            tap.weights.forEachIndexed { offset, weight ->
                val start = (tap.first + offset) * length
                for (index in 0 until length) {
                    sums[index] += weight * (pixels[start + index].toInt() and 0xff)
                }
            }
            for (index in 0 until length) {
                result[row * length + index] = (sums[index] shr FRACTION_BITS).toByte()
            }
        }
        return RgbImage(newHeight, width, result)
    }
}

/** Weights are integers of 2^-22, so that their products with bytes add up within 32 bits. */
private const val FRACTION_BITS = 22
private const val ROUNDING_HALF = 1 shl (FRACTION_BITS - 1)

/** The first old position that a new one sees, and the weights from there on. */
private class FilterTap(val first: Int, val weights: IntArray)

/**
 * For every new position the old ones it sees.
 *
 * A triangle of half-width `reach` around the new pixel's centre; shrinking widens it with the
 * factor, which is the antialiasing. Weights are normalised, then rounded to fixed point.
 */
private fun antialiasingFilter(old: Int, new: Int): List<FilterTap> {
    val scale = old.toDouble() / new
    val reach = maxOf(scale, 1.0)
    return List(new) { index ->
        val centre = (index + 0.5) * scale
        val first = maxOf(0, (centre - reach + 0.5).toInt())
        val end = minOf(old, (centre + reach + 0.5).toInt())
        val weights = DoubleArray(end - first) {
            maxOf(0.0, 1 - Math.abs((first + it - centre + 0.5) * (1 / reach)))
        }
        val total = weights.sum()
        FilterTap(first, IntArray(weights.size) {
            (weights[it] / total * (1 shl FRACTION_BITS) + 0.5).toInt()
        })
    }
}
