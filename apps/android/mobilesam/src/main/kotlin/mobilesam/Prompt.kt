package mobilesam

/** A point in pixels of the upright photo; (0, 0) is its top-left corner. */
class Point @JvmOverloads constructor(
    val x: Float,
    val y: Float,
    val isForeground: Boolean = true,
)

/** A box in pixels of the upright photo: its left, top, right and bottom edge. */
class Box(val x1: Float, val y1: Float, val x2: Float, val y2: Float)

/**
 * What a user points at.
 *
 * @property earlierLogits low-res logits of an earlier answer, S/4 rows of S/4, to be refined.
 */
class Prompt @JvmOverloads constructor(
    val points: List<Point> = emptyList(),
    val box: Box? = null,
    val earlierLogits: FloatArray? = null,
) {
    /** A single point and nothing else: three masks are then offered to choose from. */
    val isAmbiguous: Boolean
        get() = points.size == 1 && box == null && earlierLogits == null

    /**
     * The prompt as `make_prompt` of `mobilesam/inference/prompts.py` accepts it: the box clipped
     * to the photo.
     *
     * @throws MobileSAMException for an empty prompt, a point outside, or a box that cannot be one.
     */
    internal fun checked(height: Int, width: Int): Prompt {
        if (points.isEmpty() && box == null && earlierLogits == null) {
            throw MobileSAMException("The prompt is empty: give a point, a box or earlier logits.")
        }
        val right = width.toFloat()
        val bottom = height.toFloat()
        for (point in points) {
            // Written so that a NaN is refused.
            if (!(point.x in 0f..right && point.y in 0f..bottom)) {
                throw MobileSAMException(
                    "Point (${point.x}, ${point.y}) is outside the image: x must be in " +
                        "0..$width, y in 0..$height.",
                )
            }
        }
        return if (box == null) this else Prompt(points, clipped(box, right, bottom), earlierLogits)
    }

    private fun clipped(box: Box, right: Float, bottom: Float): Box {
        val finite = listOf(box.x1, box.y1, box.x2, box.y2).all { it.isFinite() }
        if (!finite || box.x1 >= box.x2 || box.y1 >= box.y2) {
            throw MobileSAMException("The box is inverted or empty: x1 < x2 and y1 < y2 are needed.")
        }
        val inside = Box(
            box.x1.coerceIn(0f, right), box.y1.coerceIn(0f, bottom),
            box.x2.coerceIn(0f, right), box.y2.coerceIn(0f, bottom),
        )
        if (inside.x1 >= inside.x2 || inside.y1 >= inside.y2) {
            throw MobileSAMException(
                "The box lies outside the image, which is ${right.toInt()} x ${bottom.toInt()}.",
            )
        }
        return inside
    }

    /**
     * The decoder's slots: `pack_prompt` of `mobilesam/bundle/contract.py`.
     *
     * The points, then the box's two corners or (with points and no box) SAM's padding point, then
     * unused slots up to the smallest accepted number that holds them.
     *
     * @throws MobileSAMException if no accepted number does.
     */
    internal fun packed(frame: Frame, acceptedSlots: List<Int>): PackedPrompt {
        val coords = mutableListOf<Float>()
        val labels = mutableListOf<Float>()
        fun add(x: Float, y: Float, label: Float) {
            val placed = frame.point(x, y)
            coords += placed.first
            coords += placed.second
            labels += label
        }
        for (point in points) {
            val label = if (point.isForeground) SlotLabel.FOREGROUND else SlotLabel.BACKGROUND
            add(point.x, point.y, label)
        }
        if (box != null) {
            add(box.x1, box.y1, SlotLabel.BOX_TOP_LEFT)
            add(box.x2, box.y2, SlotLabel.BOX_BOTTOM_RIGHT)
        } else if (points.isNotEmpty()) {
            add(0f, 0f, SlotLabel.PADDING_POINT)
        }
        val slots = acceptedSlots.filter { it >= labels.size }.minOrNull()
            ?: throw MobileSAMException(
                "The prompt needs ${labels.size} slots but this decoder has " +
                    "${acceptedSlots.maxOrNull()}: use fewer points or export with more slots.",
            )
        while (labels.size < slots) add(0f, 0f, SlotLabel.UNUSED_SLOT)
        return PackedPrompt(coords.toFloatArray(), labels.toFloatArray())
    }
}

/** `point_coords` `[1, K, 2]` and `point_labels` `[1, K]`, flat. */
internal class PackedPrompt(val coords: FloatArray, val labels: FloatArray)
