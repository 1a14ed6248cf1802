package mobilesam.android

import java.nio.ByteBuffer
import java.nio.ByteOrder
import mobilesam.ByteTensor
import mobilesam.Component
import mobilesam.FloatTensor
import mobilesam.Tensor
import org.tensorflow.lite.DataType
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
    override fun run(inputs: Map<String, Tensor>): Map<String, Tensor> {
        val given = inputs.mapValues { (_, tensor) -> filled(tensor) }
        val outputs = interpreter.getSignatureOutputs(signature).associateWith { name ->
            bytes(interpreter.getOutputTensorFromSignature(name, signature).numBytes())
        }
        interpreter.runSignature(given, outputs, signature)
        return outputs.mapValues { (name, buffer) ->
            buffer.rewind()
            val tensor = interpreter.getOutputTensorFromSignature(name, signature)
            if (tensor.dataType() == DataType.UINT8) {
                ByteTensor(tensor.shape(), ByteArray(buffer.capacity()).also { buffer.get(it) })
            } else {
                val values = FloatArray(buffer.capacity() / 4)
                buffer.asFloatBuffer().get(values)
                FloatTensor(tensor.shape(), values)
            }
        }
    }

    override fun close() = interpreter.close()

    private fun bytes(count: Int): ByteBuffer =
        ByteBuffer.allocateDirect(count).order(ByteOrder.nativeOrder())

    private fun filled(tensor: Tensor): ByteBuffer = when (tensor) {
        is FloatTensor -> bytes(4 * tensor.values.size).also { it.asFloatBuffer().put(tensor.values) }
        is ByteTensor -> bytes(tensor.values.size).also { it.put(tensor.values).rewind() }
    }
}
