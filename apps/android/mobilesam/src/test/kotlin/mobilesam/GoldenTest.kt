package mobilesam

import java.io.File
import org.json.JSONObject
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Before
import org.junit.Test

/**
 * Golden vectors of a bundle, from the photo's pixels to the mask's, value for value.
 *
 * MOBILESAM_GOLDEN names folders that `mobilesam golden` wrote (several, with the system's path
 * separator between them) and MOBILESAM_BUNDLE their bundle.
 */
class GoldenTest {
    private lateinit var manifest: Manifest
    private lateinit var golden: List<GoldenFolder>

    @Before
    fun read() {
        val bundle = setting("MOBILESAM_BUNDLE")
        val folders = setting("MOBILESAM_GOLDEN")
        assumeTrue(
            "Set MOBILESAM_BUNDLE to a bundle and MOBILESAM_GOLDEN to what 'mobilesam golden' " +
                "wrote for it.",
            bundle != null && folders != null,
        )
        manifest = Manifest.of(File(bundle!!, "manifest.json").readText())
        golden = folders!!.split(File.pathSeparator).map { GoldenFolder(File(it)) }
    }

    private fun nothingRuns() = Component { error("these tests run no model") }

    private fun segmenter() = Segmenter(manifest, nothingRuns(), nothingRuns())

    @Test
    fun photosBecomeTheEncodersInputs() {
        for (folder in golden) {
            val frame = Frame(folder.photo.height, folder.photo.width, manifest.imageSize)
            val inputs = segmenter().encoderInputs(folder.photo.scaledTo(frame), frame)
            val records = folder.encoder.getJSONArray("inputs").objects()
            val order = manifest.channelOrder
            if (order == null) {
                folder.assertSame(records, inputs, "$folder")
            } else {
                folder.assertSamePixels(records, inputs.getValue(TensorName.IMAGE), frame, order)
                val valid = records.filter { it.getString("name") == TensorName.VALID_SIZE }
                folder.assertSame(valid, inputs - TensorName.IMAGE, "$folder")
            }
        }
    }

    @Test
    fun promptsBecomeTheDecodersInputs() {
        for (folder in golden) for (case in folder.cases) {
            val frame = Frame(folder.photo.height, folder.photo.width, manifest.imageSize)
            val prompt = folder.prompt(case).checked(frame.height, frame.width)
            val inputs = segmenter().decoderInputs(prompt, frame)
            val name = "$folder, ${case.getString("name")}"
            folder.assertSame(case.getJSONArray("inputs").objects(), inputs, name)
            assertEquals(name, case.getBoolean("ambiguous"), prompt.isAmbiguous)
        }
    }

    @Test
    fun logitsBecomeTheMaskToShow() {
        var masks = 0
        for (folder in golden) for (case in folder.cases) {
            val outputs = case.getJSONArray("outputs").objects()
            val predictions = folder.values(outputs, TensorName.IOU_PREDICTIONS)
            val name = "$folder, ${case.getString("name")}"
            val chosen = chosenMask(predictions, case.getBoolean("ambiguous"))
            assertEquals(name, case.getInt("chosen"), chosen)
            val answer = Answer(
                Frame(folder.photo.height, folder.photo.width, manifest.imageSize),
                manifest.lowResSize, folder.values(outputs, TensorName.LOW_RES_MASKS), predictions,
                chosen,
            )
            val expected = folder.mask(case.getString("mask"))
            assertEquals("$name: differing pixels", 0, differing(expected, answer.mask()))
            masks += 1
        }
        println("golden vectors: $masks masks, 0 differing pixels")
    }

    /** MOBILESAM_LITERT: a command that runs the bundle; MOBILESAM_OWN: the masks it must give. */
    @Test
    fun theBundleRunByLiteRtDrawsTheMasksThatPythonDraws() {
        val command = setting("MOBILESAM_LITERT")
        val own = setting("MOBILESAM_OWN")
        assumeTrue("Set MOBILESAM_LITERT and MOBILESAM_OWN.", command != null && own != null)
        var masks = 0
        PipedBundle(command!!.split('\n')).use { pipe ->
            val segmenter = Segmenter(manifest, pipe.component("encoder"), pipe.component("decoder"))
            for (folder in golden) {
                val photo = segmenter.encode(folder.photo)
                for (case in folder.cases) {
                    val answer = segmenter.answer(photo, folder.prompt(case))
                    val file = File(own!!, "$folder/${case.getString("mask")}")
                    val name = "$folder, ${case.getString("name")}: differing pixels"
                    assertEquals(name, 0, differing(folder.mask(file), answer.mask()))
                    assertEquals(name, manifest.graphChooses, answer.frameMask != null)
                    answer.frameMask?.let { assertEquals(name, 0, unlikeItsLogits(it, answer)) }
                    masks += 1
                }
            }
        }
        println("LiteRT: $masks masks, 0 differing pixels")
    }

    /** How many of the photo's pixels in a frame's mask differ from its logits there. */
    private fun unlikeItsLogits(frameMask: ByteArray, answer: Answer): Int {
        val (side, width) = answer.frame.side to answer.frame.validWidth
        assertEquals(side * side, frameMask.size)
        val photo = Frame(answer.frame.validHeight, width, side)
        val logits = upscaled(answer.lowResLogits, answer.lowResSize, photo)
        return logits.indices.count {
            val isMask = frameMask[it / width * side + it % width].toInt() and 0xff == 255
            Math.abs(logits[it]) > 1e-4f && isMask != logits[it] > 0
        }
    }
}

/** A folder that `mobilesam golden` wrote. */
internal class GoldenFolder(private val folder: File) {
    private val index = readJson(File(folder, "golden.json"))
    val encoder: JSONObject = index.getJSONObject("encoder")
    val cases: List<JSONObject> = index.getJSONArray("cases").objects()
    val photo: RgbImage = index.getJSONArray("original_size").ints().let { (height, width) ->
        RgbImage(height, width, File(folder, index.getString("photo")).readBytes())
    }

    override fun toString(): String = folder.name

    fun values(records: List<JSONObject>, name: String): FloatArray =
        floatsOf(File(folder, record(records, name).getString("file")).readBytes())

    private fun record(records: List<JSONObject>, name: String): JSONObject =
        records.single { it.getString("name") == name }

    fun mask(name: String): BooleanArray = mask(File(folder, name))

    /** A bit a pixel, the first in the highest bit of the first byte. */
    fun mask(file: File): BooleanArray {
        val bytes = file.readBytes()
        return BooleanArray(photo.height * photo.width) {
            (bytes[it / 8].toInt() shr (7 - it % 8)) and 1 == 1
        }
    }

    fun prompt(case: JSONObject): Prompt {
        val inputs = case.getJSONArray("inputs").objects()
        val refines = values(inputs, TensorName.HAS_MASK_INPUT)[0] == 1f
        val earlier = if (refines) values(inputs, TensorName.MASK_INPUT) else null
        return Prompt(case.points(), case.box(), earlier)
    }

    /** Fails unless the inputs are those of the records: names, shapes and every value. */
    fun assertSame(records: List<JSONObject>, inputs: Map<String, Tensor>, name: String) {
        assertEquals(name, records.map { it.getString("name") }.toSet(), inputs.keys)
        for (record in records) {
            val tensor = inputs.getValue(record.getString("name"))
            val place = "$name: ${record.getString("name")}"
            assertEquals(place, record.getJSONArray("shape").ints(), tensor.shape.toList())
            val expected = values(records, record.getString("name"))
            val found = (tensor as FloatTensor).values
            assertEquals("$place: differing values", 0, differing(expected, found))
        }
        assertTrue(name, records.isNotEmpty())
    }

    /** The same for an image of bytes, where the graph reads it: in the photo, red, green, blue. */
    fun assertSamePixels(records: List<JSONObject>, image: Tensor, frame: Frame, order: String) {
        val record = record(records, TensorName.IMAGE)
        assertEquals(UINT8, record.getString("dtype"))
        assertEquals(record.getJSONArray("shape").ints(), image.shape.toList())
        val expected = File(folder, record.getString("file")).readBytes()
        val found = (image as ByteTensor).values
        assertEquals(expected.size, found.size)
        val read = expected.indices.filter {
            val pixel = it / order.length
            order[it % order.length] in "rgb" &&
                pixel / frame.side < frame.validHeight && pixel % frame.side < frame.validWidth
        }
        assertEquals(3 * frame.validHeight * frame.validWidth, read.size)
        assertEquals("$this: differing bytes", 0, read.count { expected[it] != found[it] })
    }
}
