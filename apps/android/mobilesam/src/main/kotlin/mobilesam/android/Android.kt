@file:JvmName("AndroidBundles")

package mobilesam.android

import android.content.res.AssetManager
import android.graphics.Bitmap
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import mobilesam.Manifest
import mobilesam.RgbImage
import mobilesam.Segmenter

/**
 * Open a bundle that lies in the app's assets.
 *
 * @param folder of the assets that holds `manifest.json` and the files it names.
 */
@JvmOverloads
fun openBundle(assets: AssetManager, folder: String, threads: Int = 4): Segmenter {
    val text = assets.open("$folder/manifest.json").use { it.readBytes().decodeToString() }
    val manifest = Manifest.of(text)
    fun component(name: String) =
        LiteRtComponent(mapped(assets, "$folder/${manifest.file(name)}"), threads)
    return Segmenter(manifest, component("encoder"), component("decoder"))
}

/** Read an upright bitmap, in sRGB; apply its EXIF orientation first. */
fun rgbImage(bitmap: Bitmap): RgbImage {
    val height = bitmap.height
    val width = bitmap.width
    val argb = IntArray(height * width)
    bitmap.getPixels(argb, 0, width, 0, 0, width, height)
    val rgb = ByteArray(height * width * 3)
    for (pixel in argb.indices) {
        for (channel in 0 until 3) {
            rgb[pixel * 3 + channel] = (argb[pixel] shr (16 - 8 * channel)).toByte()
        }
    }
    return RgbImage(height, width, rgb)
}

/** A file of the assets, which the build must not compress (`noCompress`), mapped into memory. */
private fun mapped(assets: AssetManager, path: String): ByteBuffer =
    assets.openFd(path).use { file ->
        file.createInputStream().use { stream ->
            stream.channel.map(FileChannel.MapMode.READ_ONLY, file.startOffset, file.declaredLength)
        }
    }
