package org.tensorflow.lite;

/** What the library calls of LiteRT's tensors. */
public interface Tensor {
    DataType dataType();

    int[] shape();

    int numBytes();
}
