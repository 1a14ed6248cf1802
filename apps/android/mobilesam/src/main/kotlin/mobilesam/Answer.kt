package mobilesam

/**
 * What the decoder returned for a prompt.
 *
 * @property lowResSize side of the low-res logits, S/4.
 * @property lowResLogits logits of all four masks, 4 x S/4 x S/4; of the one mask, where the graph
 *     chooses it.
 * @property iouPredictions how good the model thinks each of them is.
 * @property chosen the mask to show.
 * @property frameMask where the graph draws it: S x S bytes, 255 in the mask and 0 elsewhere, of
 *     which the top left `frame.validHeight` x `frame.validWidth` are the photo. It can be drawn as
 *     it is, as transparency; [mask] has the photo's size.
 */
class Answer internal constructor(
    val frame: Frame,
    val lowResSize: Int,
    val lowResLogits: FloatArray,
    val iouPredictions: FloatArray,
    val chosen: Int,
    val frameMask: ByteArray? = null,
) {
    /** Low-res logits of one mask, S/4 rows of S/4: what `Prompt.earlierLogits` takes. */
    @JvmOverloads
    fun lowResLogitsOf(index: Int = chosen): FloatArray {
        val count = lowResSize * lowResSize
        return lowResLogits.copyOfRange(index * count, (index + 1) * count)
    }

    /** Logits of one mask at the photo's size, row by row. */
    @JvmOverloads
    fun logits(index: Int = chosen): FloatArray =
        upscaled(lowResLogitsOf(index), lowResSize, frame)

    /** The mask to show, or another of the four: at the photo's size, row by row. */
    @JvmOverloads
    fun mask(index: Int = chosen): BooleanArray {
        val logits = logits(index)
        return BooleanArray(logits.size) { logits[it] > 0 }
    }
}

/**
 * Index of the mask to show: `choose_mask` of `mobilesam/inference/predictor.py`.
 *
 * The best predicted IoU among masks 1 to 3 (of equal ones the first) for an ambiguous prompt, else
 * mask 0.
 */
internal fun chosenMask(iouPredictions: FloatArray, isAmbiguous: Boolean): Int {
    if (!isAmbiguous) return 0
    var best = 1
    for (index in 2 until MASK_COUNT) {
        if (iouPredictions[index] > iouPredictions[best]) best = index
    }
    return best
}

/**
 * Low-res logits to the photo's size: `upscale_logits` of `mobilesam/inference/transforms.py`.
 *
 * Bilinear to S x S, cropped to the valid size, bilinear to the photo.
 */
internal fun upscaled(lowRes: FloatArray, side: Int, frame: Frame): FloatArray {
    val toFrame = BilinearTaps(side, frame.side)
    val valid = interpolated(
        lowRes, side, toFrame, frame.validHeight, toFrame, frame.validWidth,
    )
    return interpolated(
        valid, frame.validWidth,
        BilinearTaps(frame.validHeight, frame.height), frame.height,
        BilinearTaps(frame.validWidth, frame.width), frame.width,
    )
}

/**
 * Bilinear interpolation of one axis as PyTorch's `interpolate(align_corners=False)` computes it.
 *
 *     position = max(0, (index + 0.5) * old / new - 0.5)
 *     low = floor(position), at most old - 1
 *     high = low + 1, at most old - 1
 *     share = position - low
 *
 * In float32: `old / new` is rounded, then product and difference are rounded once together, which
 * is what PyTorch's compiled code does where the processor has a fused multiply-add. (Double
 * precision holds the product of two floats exactly.)
 */
internal class BilinearTaps(old: Int, new: Int) {
    val low = IntArray(new)
    val high = IntArray(new)
    val share = FloatArray(new)

    init {
        val scale = (old.toFloat() / new).toDouble()
        for (index in 0 until new) {
            val position = maxOf(0f, ((index + 0.5) * scale - 0.5).toFloat())
            low[index] = minOf(position.toInt(), old - 1)
            high[index] = minOf(low[index] + 1, old - 1)
            share[index] = position - low[index]
        }
    }
}

private fun interpolated(
    source: FloatArray,
    columns: Int,
    down: BilinearTaps,
    newRows: Int,
    across: BilinearTaps,
    newColumns: Int,
): FloatArray {
    val result = FloatArray(newRows * newColumns)
    for (row in 0 until newRows) {
        val low = down.low[row] * columns
        val high = down.high[row] * columns
        val lower = down.share[row]
        for (column in 0 until newColumns) {
            val left = across.low[column]
            val right = across.high[column]
            val share = across.share[column]
            val top = source[low + left] * (1 - share) + source[low + right] * share
            val bottom = source[high + left] * (1 - share) + source[high + right] * share
            result[row * newColumns + column] = top * (1 - lower) + bottom * lower
        }
    }
    return result
}
