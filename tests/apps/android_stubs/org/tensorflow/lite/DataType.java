package org.tensorflow.lite;

/** What the library knows of LiteRT's dtypes. */
public enum DataType {
    FLOAT32,
    UINT8
}
