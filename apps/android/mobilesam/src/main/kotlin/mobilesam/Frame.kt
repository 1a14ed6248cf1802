package mobilesam

/**
 * How one photo lies in the model's square frame: `Frame` of `mobilesam/inference/transforms.py`.
 *
 * @property height of the photo, upright, in pixels.
 * @property width of the photo.
 * @property side S, of the frame.
 * @throws MobileSAMException for a photo so elongated that its short side would vanish.
 */
class Frame @Throws(MobileSAMException::class) constructor(
    val height: Int,
    val width: Int,
    val side: Int,
) {
    /** Height of the part of the frame that is photo; the larger of both is S. */
    val validHeight: Int

    /** Width of the part of the frame that is photo. */
    val validWidth: Int

    init {
        // The factor first, then the product: the other order rounds some sizes differently.
        val factor = side.toDouble() / maxOf(height, width, 1)
        validHeight = (height * factor + 0.5).toInt()
        validWidth = (width * factor + 0.5).toInt()
        if (minOf(height, width, minOf(validHeight, validWidth)) < 1) {
            throw MobileSAMException(
                "An image of ${width}x$height pixels is too elongated: scaled to a longest side " +
                    "of $side, its short side must keep at least one pixel.",
            )
        }
    }

    /** A point of the photo in the frame, x and y: computed in double precision, rounded once. */
    internal fun point(x: Float, y: Float): Pair<Float, Float> {
        val across = validWidth.toDouble() / width
        val down = validHeight.toDouble() / height
        return Pair((x * across).toFloat(), (y * down).toFloat())
    }
}
