package org.tensorflow.lite;

import java.nio.ByteBuffer;
import java.util.Map;

/** What the library calls of LiteRT, as its documentation declares it: to be compiled against. */
public final class Interpreter implements AutoCloseable {
    public static class Options {
        public native Options setNumThreads(int threads);
    }

    public Interpreter(ByteBuffer model, Options options) {}

    public native String[] getSignatureKeys();

    public native String[] getSignatureOutputs(String signature);

    public native Tensor getOutputTensorFromSignature(String name, String signature);

    public native void runSignature(
            Map<String, Object> inputs, Map<String, Object> outputs, String signature);

    @Override
    public native void close();
}
