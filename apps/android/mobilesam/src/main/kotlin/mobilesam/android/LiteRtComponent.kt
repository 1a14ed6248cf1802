package mobilesam.android

import java.nio.ByteBuffer
import java.nio.ByteOrder
import mobilesam.Component
import mobilesam.Tensor
import org.tensorflow.lite.Interpreter

/**
 * A `.tflite` file of a bundle, run by LiteRT on the CPU.
 *
 * @param model the file's bytes in a direct or mapped buffer, which must stay as they are.
 */
class LiteRtComponent @JvmOverloads constructor(model: ByteBuffer, threads: Int = 4) :
    Component, AutoCloseable {
    private val interpreter =
        Interpreter(model, Interpreter.Options().setNumThreads(threads))

    /** The file's only one: `encode` or `decode`. */
    private val signature = interpreter.signatureKeys.single()

    /** Inputs and outputs go by name: their order in the file means nothing. */
    override fun run(inputs: Map<String, Tensor>): Map<String, FloatArray> {
        val given = inputs.mapValues { (_, tensor) -> filled(tensor.values) }
        val outputs = interpreter.getSignatureOutputs(signature).associateWith { name ->
            bytes(interpreter.getOutputTensorFromSignature(name, signature).numElements())
        }
        interpreter.runSignature(given, outputs, signature)
        return outputs.mapValues { (_, buffer) ->
            buffer.rewind()
            FloatArray(buffer.capacity() / 4).also { buffer.asFloatBuffer().get(it) }
        }
    }

    override fun close() = interpreter.close()

    private fun bytes(count: Int): ByteBuffer =
        ByteBuffer.allocateDirect(4 * count).order(ByteOrder.nativeOrder())

    private fun filled(values: FloatArray): ByteBuffer =
        bytes(values.size).also { it.asFloatBuffer().put(values) }
}
