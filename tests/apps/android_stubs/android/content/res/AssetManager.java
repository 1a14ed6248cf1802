package android.content.res;

import java.io.IOException;
import java.io.InputStream;

/** What the library calls of Android's assets. */
public final class AssetManager {
    public native InputStream open(String path) throws IOException;

    public native AssetFileDescriptor openFd(String path) throws IOException;
}
