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
 * A question is a line of JSON, which names the component and each input with its shape and dtype,
 * and then the inputs' values in that order, little-endian. An answer is the same with outputs.
 */
internal class PipedBundle(command: List<String>) : AutoCloseable {
    private val process =
        ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start()
    private val answers = DataInputStream(process.inputStream.buffered())

    fun component(name: String) = Component { inputs -> run(name, inputs) }

    private fun run(component: String, inputs: Map<String, Tensor>): Map<String, Tensor> {
        val named = JSONArray()
        for ((name, tensor) in inputs) {
            val about = JSONObject().put("name", name).put("shape", JSONArray(tensor.shape.toList()))
            named.put(about.put("dtype", if (tensor is ByteTensor) UINT8 else FLOAT32))
        }
        val question = JSONObject().put("component", component).put("inputs", named)
        process.outputStream.write("$question\n".toByteArray())
        for (tensor in inputs.values) process.outputStream.write(bytesOf(tensor))
        process.outputStream.flush()
        val outputs = JSONObject(line(answers)).getJSONArray("outputs").objects()
        return outputs.associate { output ->
            val shape = output.getJSONArray("shape").ints()
            val isBytes = output.getString("dtype") == UINT8
            val count = shape.fold(if (isBytes) 1 else 4, Int::times)
            val bytes = ByteArray(count).also { answers.readFully(it) }
            output.getString("name") to tensorOf(shape, bytes, isBytes)
        }
    }

    override fun close() {
        process.outputStream.close()
        process.waitFor()
    }
}

private const val FLOAT32 = "float32"
internal const val UINT8 = "uint8"

private fun tensorOf(shape: List<Int>, bytes: ByteArray, isBytes: Boolean): Tensor {
    val sides = shape.toIntArray()
    return if (isBytes) ByteTensor(sides, bytes) else FloatTensor(sides, floatsOf(bytes))
}

private fun bytesOf(tensor: Tensor): ByteArray = when (tensor) {
    is ByteTensor -> tensor.values
    is FloatTensor -> {
        val buffer = ByteBuffer.allocate(4 * tensor.values.size).order(ByteOrder.LITTLE_ENDIAN)
        buffer.asFloatBuffer().put(tensor.values)
        buffer.array()
    }
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
