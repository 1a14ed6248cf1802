package mobilesam

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.json.JSONObject

/** Where the toolkit's tests put what these tests read; null where they did not. */
internal fun setting(name: String): String? = System.getenv(name)?.ifEmpty { null }

internal fun readJson(file: File) = JSONObject(file.readText())

internal fun JSONArray.objects(): List<JSONObject> = List(length()) { getJSONObject(it) }

internal fun JSONArray.ints(): List<Int> = List(length()) { getInt(it) }

internal fun JSONArray.floats(): FloatArray =
    FloatArray(length()) { getDouble(it).toFloat() }

internal fun JSONObject.arrayOrNull(name: String): JSONArray? =
    if (isNull(name)) null else getJSONArray(name)

/** Points of a vector, from lists of coordinates and of labels. */
internal fun JSONObject.points(): List<Point> {
    val labels = getJSONArray("labels").ints()
    val coordinates = getJSONArray("points")
    return labels.mapIndexed { index, label ->
        val (x, y) = coordinates.getJSONArray(index).floats().toList()
        Point(x, y, label == 1)
    }
}

internal fun JSONObject.box(): Box? =
    arrayOrNull("box")?.floats()?.let { (x1, y1, x2, y2) -> Box(x1, y1, x2, y2) }

/** Little-endian float32 values. */
internal fun floatsOf(bytes: ByteArray): FloatArray {
    val buffer = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
    return FloatArray(buffer.remaining()).also { buffer.get(it) }
}

/** How many values differ; -1 where their number does. */
internal fun differing(one: FloatArray, other: FloatArray): Int =
    if (one.size != other.size) -1 else one.indices.count { one[it] != other[it] }

internal fun differing(one: BooleanArray, other: BooleanArray): Int =
    if (one.size != other.size) -1 else one.indices.count { one[it] != other[it] }
