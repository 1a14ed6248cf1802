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
            folder.assertSame(folder.encoder.getJSONArray("inputs").objects(), inputs, "$folder")
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
                    val found = segmenter.answer(photo, folder.prompt(case)).mask()
                    val file = File(own!!, "$folder/${case.getString("mask")}")
                    val name = "$folder, ${case.getString("name")}: differing pixels"
                    assertEquals(name, 0, differing(folder.mask(file), found))
                    masks += 1
                }
            }
        }
        println("LiteRT: $masks masks, 0 differing pixels")
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
            assertEquals("$place: differing values", 0, differing(expected, tensor.values))
        }
        assertTrue(name, records.isNotEmpty())
    }
}
