package org.tensorflow.lite;

/** What the library calls of LiteRT's tensors. */
public interface Tensor {
    int numElements();
}
