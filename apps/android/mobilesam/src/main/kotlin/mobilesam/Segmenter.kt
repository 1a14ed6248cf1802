package mobilesam

/** float32 values in row-major order. */
class Tensor(val shape: IntArray, val values: FloatArray)

/**
 * One of a bundle's two models: the interpreter's side of this library.
 *
 * On a phone it is [mobilesam.android.LiteRtComponent]; tests give others.
 */
fun interface Component {
    /** Every output by its name, from every input by its name. */
    fun run(inputs: Map<String, Tensor>): Map<String, FloatArray>
}

/** A photo as the decoder needs it: ask about it as often as you like. */
class EncodedPhoto internal constructor(val frame: Frame, internal val embedding: Tensor)

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
        val embedding = output.tensor(TensorName.IMAGE_EMBEDDINGS)
        val cells = manifest.imageSize / manifest.stride
        val shape = intArrayOf(1, embedding.size / (cells * cells), cells, cells)
        return EncodedPhoto(frame, Tensor(shape, embedding))
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
        val predictions = output.tensor(TensorName.IOU_PREDICTIONS)
        return Answer(
            frame, manifest.lowResSize, output.tensor(TensorName.LOW_RES_MASKS), predictions,
            chosenMask(predictions, checked.isAmbiguous),
        )
    }

    /** Every input of the encoder, for a photo of the frame's valid size. */
    internal fun encoderInputs(image: RgbImage, frame: Frame): Map<String, Tensor> {
        val side = manifest.imageSize
        val values = planes(image, frame, manifest.appNormalizes)
        val picture = TensorName.IMAGE to Tensor(intArrayOf(1, 3, side, side), values)
        if (manifest.appNormalizes) return mapOf(picture)
        val valid = floatArrayOf(frame.validHeight.toFloat(), frame.validWidth.toFloat())
        return mapOf(picture, TensorName.VALID_SIZE to Tensor(intArrayOf(2), valid))
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
            TensorName.POINT_COORDS to Tensor(intArrayOf(1, count, 2), slots.coords),
            TensorName.POINT_LABELS to Tensor(intArrayOf(1, count), slots.labels),
            TensorName.MASK_INPUT to
                Tensor(intArrayOf(1, 1, side, side), earlier ?: FloatArray(side * side)),
            TensorName.HAS_MASK_INPUT to
                Tensor(intArrayOf(1), floatArrayOf(if (earlier == null) 0f else 1f)),
        )
    }

    private fun Map<String, FloatArray>.tensor(name: String): FloatArray = this[name]
        ?: throw MobileSAMException("The model returned no '$name': export the bundle again.")
}
