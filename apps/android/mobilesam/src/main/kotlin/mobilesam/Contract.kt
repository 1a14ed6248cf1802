package mobilesam

/** Major version of the contract this library follows, as in `contract_version` of a manifest. */
internal const val CONTRACT_MAJOR_VERSION = 1

/** Names of the encoder's and the decoder's inputs and outputs. */
internal object TensorName {
    const val IMAGE = "image"
    const val VALID_SIZE = "valid_size"
    const val IMAGE_EMBEDDINGS = "image_embeddings"
    const val POINT_COORDS = "point_coords"
    const val POINT_LABELS = "point_labels"
    const val MASK_INPUT = "mask_input"
    const val HAS_MASK_INPUT = "has_mask_input"
    const val LOW_RES_MASKS = "low_res_masks"
    const val IOU_PREDICTIONS = "iou_predictions"
    const val MASKS = "masks"
}

/** Values of `point_labels`. */
internal object SlotLabel {
    const val FOREGROUND = 1f
    const val BACKGROUND = 0f
    const val BOX_TOP_LEFT = 2f
    const val BOX_BOTTOM_RIGHT = 3f
    const val PADDING_POINT = -1f
    const val UNUSED_SLOT = -2f
}

internal const val INPUT_NORMALIZED = "normalized"
internal const val INPUT_BYTES = "uint8"

/** Values of `input_variant` in a manifest. */
internal val INPUT_VARIANTS = listOf("pixels", INPUT_NORMALIZED, INPUT_BYTES)

/** Values of `channel_order`: how the values of a pixel follow each other in bytes. */
internal val CHANNEL_ORDERS = listOf("rgb", "bgr", "rgba")

/** Mean and standard deviation of R, G, B on the 0 to 255 scale, for input variant `normalized`. */
internal object PixelStatistics {
    val MEAN = floatArrayOf(123.675f, 116.28f, 103.53f)
    val STD = floatArrayOf(58.395f, 57.12f, 57.375f)
}

/** The masks the decoder returns: 0 answers a clear prompt, 1 to 3 an ambiguous one. */
internal const val MASK_COUNT = 4

/** What was wrong and what would be right, in one sentence. */
class MobileSAMException(message: String) : Exception(message)
