package mobilesam

import java.io.File
import java.util.Base64
import org.json.JSONObject
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Before
import org.junit.Test

/** The arithmetic around the models, held against `vectors.json`, which the toolkit computed. */
class VectorTest {
    private lateinit var file: JSONObject

    @Before
    fun read() {
        val path = setting("MOBILESAM_VECTORS")
        assumeTrue("Set MOBILESAM_VECTORS to the file vectors.json of apps/apple.", path != null)
        file = readJson(File(path!!))
    }

    private fun vectors(kind: String) = file.getJSONArray(kind).objects().also {
        assertTrue("no vectors of '$kind'", it.isNotEmpty())
    }

    private fun JSONObject.size() = getJSONArray("size").ints()

    private fun JSONObject.frame() = size().let { (height, width) ->
        Frame(height, width, getInt("side"))
    }

    private fun JSONObject.bytes(name: String): ByteArray =
        Base64.getDecoder().decode(getString(name))

    private fun JSONObject.photo() = size().let { (height, width) ->
        RgbImage(height, width, bytes("pixels"))
    }

    @Test
    fun frames() {
        for (vector in vectors("frames")) {
            val found = try {
                vector.frame().let { listOf(it.validHeight, it.validWidth) }
            } catch (_: MobileSAMException) {
                null
            }
            assertEquals("$vector", vector.arrayOrNull("valid_size")?.ints(), found)
        }
    }

    @Test
    fun promptsArePackedIntoSlots() {
        for (vector in vectors("prompts")) {
            val earlier = if (vector.getBoolean("earlier_logits")) FloatArray(1) else null
            val prompt = Prompt(vector.points(), vector.box(), earlier)
            val frame = vector.frame()
            val packed = try {
                prompt.checked(frame.height, frame.width)
                    .packed(frame, vector.getJSONArray("slot_counts").ints())
            } catch (_: MobileSAMException) {
                null
            }
            val coords = vector.arrayOrNull("coords")?.floats()
            val labels = vector.arrayOrNull("slot_labels")?.floats()
            assertArrayEquals("$vector", coords, packed?.coords, 0f)
            assertArrayEquals("$vector", labels, packed?.labels, 0f)
            if (!vector.isNull("ambiguous")) {
                assertEquals("$vector", vector.getBoolean("ambiguous"), prompt.isAmbiguous)
            }
        }
    }

    @Test
    fun theMaskToShow() {
        for (vector in vectors("choices")) {
            val iou = vector.getJSONArray("iou").floats()
            assertEquals(
                "$vector", vector.getInt("chosen"), chosenMask(iou, vector.getBoolean("ambiguous")),
            )
        }
    }

    @Test
    fun photosAreScaled() {
        for (vector in vectors("scaling")) {
            val scaled = vector.photo().scaledTo(vector.frame())
            assertEquals(
                vector.getJSONArray("scaled_size").ints(), listOf(scaled.height, scaled.width),
            )
            val expected = vector.bytes("scaled")
            assertEquals(expected.size, scaled.pixels.size)
            val apart = expected.indices.maxOf {
                Math.abs((expected[it].toInt() and 0xff) - (scaled.pixels[it].toInt() and 0xff))
            }
            assertTrue("${vector.size()}: $apart levels", apart <= vector.getInt("levels"))
        }
    }

    @Test
    fun photosArePlacedInTheFrame() {
        for (vector in vectors("planes")) {
            val frame = vector.frame()
            val valid = floatArrayOf(frame.validHeight.toFloat(), frame.validWidth.toFloat())
            assertArrayEquals(vector.getJSONArray("valid_size").floats(), valid, 0f)
            val bytes = vector.bytes("planes")
            val expected = FloatArray(bytes.size) { (bytes[it].toInt() and 0xff).toFloat() }
            assertArrayEquals(expected, planes(vector.photo(), frame, normalized = false), 0f)
            assertArrayEquals(
                vector.getJSONArray("normalized").floats(),
                planes(vector.photo(), frame, normalized = true), 1e-6f,
            )
        }
    }

    @Test
    fun logitsAreUpscaledAndThresholded() {
        val tolerance = file.getDouble("logit_tolerance").toFloat()
        for (vector in vectors("upscaling")) {
            val name = "${vector.getString("kind")}, ${vector.size()}"
            val lowRes = vector.getJSONArray("low_res").floats()
            val other = FloatArray(lowRes.size) { -1f }
            // The vector's logits as mask 2 of four.
            val answer = Answer(
                vector.frame(), vector.getInt("side") / 4, other + other + lowRes + other,
                floatArrayOf(0f, 0f, 1f, 0f), 2,
            )
            val expected = vector.getJSONArray("logits").floats()
            assertArrayEquals(name, expected, answer.logits(), tolerance)
            val rows = vector.getJSONArray("mask")
            val mask = List(rows.length()) { rows.getString(it) }.joinToString("").map { it == '1' }
            val found = answer.mask()
            assertEquals(name, mask.size, found.size)
            for (index in mask.indices) {
                // Where rounding cannot decide; exact zeros are no mask anywhere.
                if (Math.abs(expected[index]) > tolerance || expected[index] == 0f) {
                    assertEquals("$name, pixel $index", mask[index], found[index])
                }
            }
        }
    }
}
