package android.graphics;

/** What the library calls of Android's bitmaps. */
public final class Bitmap {
    public native int getHeight();

    public native int getWidth();

    public native void getPixels(
            int[] pixels, int offset, int stride, int x, int y, int width, int height);
}
