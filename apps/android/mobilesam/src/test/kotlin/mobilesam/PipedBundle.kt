package mobilesam

import java.io.ByteArrayOutputStream
import java.io.DataInputStream
import java.io.EOFException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.json.JSONArray
import org.json.JSONObject

/**
 * A bundle run by LiteRT in another process (`tests/apps/litert_pipe.py`).
 *
 * A question is a line of JSON, which names the component and the shape of each input, and then the
 * inputs' values in that order, little-endian float32. An answer is the same with outputs.
 */
internal class PipedBundle(command: List<String>) : AutoCloseable {
    private val process =
        ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start()
    private val answers = DataInputStream(process.inputStream.buffered())

    fun component(name: String) = Component { inputs -> run(name, inputs) }

    private fun run(component: String, inputs: Map<String, Tensor>): Map<String, FloatArray> {
        val named = JSONArray()
        for ((name, tensor) in inputs) {
            named.put(JSONObject().put("name", name).put("shape", JSONArray(tensor.shape.toList())))
        }
        val question = JSONObject().put("component", component).put("inputs", named)
        process.outputStream.write("$question\n".toByteArray())
        for (tensor in inputs.values) process.outputStream.write(bytesOf(tensor.values))
        process.outputStream.flush()
        val outputs = JSONObject(line(answers)).getJSONArray("outputs").objects()
        return outputs.associate { output ->
            val count = output.getJSONArray("shape").ints().fold(1, Int::times)
            val bytes = ByteArray(4 * count).also { answers.readFully(it) }
            output.getString("name") to floatsOf(bytes)
        }
    }

    override fun close() {
        process.outputStream.close()
        process.waitFor()
    }
}

private fun bytesOf(values: FloatArray): ByteArray {
    val buffer = ByteBuffer.allocate(4 * values.size).order(ByteOrder.LITTLE_ENDIAN)
    buffer.asFloatBuffer().put(values)
    return buffer.array()
}

private fun line(stream: InputStream): String {
    val bytes = ByteArrayOutputStream()
    while (true) {
        val next = stream.read()
        if (next < 0) throw EOFException("the process that runs the bundle ended")
        if (next == '\n'.code) return bytes.toString("UTF-8")
        bytes.write(next)
    }
}
