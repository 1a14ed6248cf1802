package mobilesam

/** Values in row-major order; of which dtype, the contract says. */
sealed interface Tensor {
    val shape: IntArray
}

/** float32 values. */
class FloatTensor(override val shape: IntArray, val values: FloatArray) : Tensor

/** uint8 values: `image` of input variant `uint8`, and the decoder's `masks`. */
class ByteTensor(override val shape: IntArray, val values: ByteArray) : Tensor

/**
 * One of a bundle's two models: the interpreter's side of this library.
 *
 * On a phone it is [mobilesam.android.LiteRtComponent]; tests give others.
 */
fun interface Component {
    /** Every output by its name, from every input by its name. */
    @JvmSuppressWildcards
    fun run(inputs: Map<String, Tensor>): Map<String, Tensor>
}

/** A photo as the decoder needs it: ask about it as often as you like. */
class EncodedPhoto internal constructor(val frame: Frame, internal val embedding: FloatTensor)

/** A bundle of the toolkit: photo and prompt in, mask out. Not for several threads at once. */
class Segmenter(
    val manifest: Manifest,
    private val encoder: Component,
    private val decoder: Component,
) {
    /**
     * Run the encoder, once a photo.
     *
     * @param image upright: apply its EXIF orientation first.
     * @throws MobileSAMException for a photo that is too elongated.
     */
    @Throws(MobileSAMException::class)
    fun encode(image: RgbImage): EncodedPhoto {
        val frame = Frame(image.height, image.width, manifest.imageSize)
        return encodeScaled(image.scaledTo(frame), frame)
    }

    /** Run the encoder on a photo that the app scaled to the frame's valid size by itself. */
    fun encodeScaled(image: RgbImage, frame: Frame): EncodedPhoto {
        val output = encoder.run(encoderInputs(image, frame))
        return EncodedPhoto(frame, output.typed(TensorName.IMAGE_EMBEDDINGS))
    }

    /**
     * Run the decoder, once a prompt.
     *
     * @throws MobileSAMException for a prompt that is none or has too many points.
     */
    @Throws(MobileSAMException::class)
    fun answer(photo: EncodedPhoto, prompt: Prompt): Answer {
        val frame = photo.frame
        val checked = prompt.checked(frame.height, frame.width)
        val inputs = decoderInputs(checked, frame)
        val output = decoder.run(inputs + (TensorName.IMAGE_EMBEDDINGS to photo.embedding))
        val predictions = output.typed<FloatTensor>(TensorName.IOU_PREDICTIONS).values
        val logits = output.typed<FloatTensor>(TensorName.LOW_RES_MASKS).values
        val chosen = if (manifest.graphChooses) 0 else chosenMask(predictions, checked.isAmbiguous)
        val frameMask =
            if (manifest.graphChooses) output.typed<ByteTensor>(TensorName.MASKS).values else null
        return Answer(frame, manifest.lowResSize, logits, predictions, chosen, frameMask)
    }

    /** Every input of the encoder, for a photo of the frame's valid size. */
    internal fun encoderInputs(image: RgbImage, frame: Frame): Map<String, Tensor> {
        val side = manifest.imageSize
        val order = manifest.channelOrder
        val picture = if (order == null) {
            val values = planes(image, frame, manifest.appNormalizes)
            FloatTensor(intArrayOf(1, 3, side, side), values)
        } else {
            ByteTensor(intArrayOf(1, side, side, order.length), interleaved(image, frame, order))
        }
        if (manifest.appNormalizes) return mapOf(TensorName.IMAGE to picture)
        val valid = floatArrayOf(frame.validHeight.toFloat(), frame.validWidth.toFloat())
        return mapOf(
            TensorName.IMAGE to picture,
            TensorName.VALID_SIZE to FloatTensor(intArrayOf(2), valid),
        )
    }

    /** Every input of the decoder but the embedding, for a prompt that was checked. */
    internal fun decoderInputs(prompt: Prompt, frame: Frame): Map<String, Tensor> {
        val side = manifest.lowResSize
        val earlier = prompt.earlierLogits
        if (earlier != null && earlier.size != side * side) {
            throw MobileSAMException(
                "Earlier logits must be $side x $side values, not ${earlier.size}.",
            )
        }
        val slots = prompt.packed(frame, manifest.acceptedSlots)
        val count = slots.labels.size
        return mapOf(
            TensorName.POINT_COORDS to FloatTensor(intArrayOf(1, count, 2), slots.coords),
            TensorName.POINT_LABELS to FloatTensor(intArrayOf(1, count), slots.labels),
            TensorName.MASK_INPUT to
                FloatTensor(intArrayOf(1, 1, side, side), earlier ?: FloatArray(side * side)),
            TensorName.HAS_MASK_INPUT to
                FloatTensor(intArrayOf(1), floatArrayOf(if (earlier == null) 0f else 1f)),
        )
    }

    private inline fun <reified T : Tensor> Map<String, Tensor>.typed(name: String): T =
        this[name] as? T ?: throw MobileSAMException(
            "The model returned no '$name' of the contract's dtype: export the bundle again.",
        )
}
