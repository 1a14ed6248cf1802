// Not built here: there was no Android SDK. Written to Android's documentation.

package mobilesam.sample

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.ColorSpace
import android.graphics.ImageDecoder
import android.net.Uri
import android.os.Bundle
import android.view.View
import android.widget.Button
import android.widget.CheckBox
import android.widget.LinearLayout
import android.widget.TextView
import java.util.concurrent.Executors
import mobilesam.Box
import mobilesam.EncodedPhoto
import mobilesam.Point
import mobilesam.Prompt
import mobilesam.Segmenter
import mobilesam.android.openBundle
import mobilesam.android.rgbImage

/** One screen: a photo, a tap or a dragged box, and the mask over it. */
class SampleActivity : Activity() {
    private val worker = Executors.newSingleThreadExecutor()
    private lateinit var picture: PictureView
    private lateinit var message: TextView
    private lateinit var background: CheckBox

    // Both are used by the worker alone.
    private var segmenter: Segmenter? = null
    private var photo: EncodedPhoto? = null

    private var prompt = Prompt()

    override fun onCreate(saved: Bundle?) {
        super.onCreate(saved)
        message = TextView(this)
        background = CheckBox(this).apply { text = "A tap means background" }
        picture = PictureView(this, ::tapped, ::boxed)
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                fitsSystemWindows = true
                val stretched = LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1f)
                addView(picture, stretched)
                addView(message)
                addView(background)
                addView(button("Photo") { choosePhoto() })
                addView(button("Start again") { startAgain() })
            },
        )
        work("Loading the bundle ...", "Choose a photo.") { segmenter = openBundle(assets, BUNDLE) }
    }

    private fun button(label: String, clicked: (View) -> Unit) = Button(this).apply {
        text = label
        setOnClickListener(clicked)
    }

    private fun choosePhoto() {
        val asked = Intent(Intent.ACTION_OPEN_DOCUMENT)
            .addCategory(Intent.CATEGORY_OPENABLE)
            .setType("image/*")
        startActivityForResult(asked, PHOTO)
    }

    override fun onActivityResult(asked: Int, result: Int, data: Intent?) {
        super.onActivityResult(asked, result, data)
        val address = data?.data
        if (asked == PHOTO && result == RESULT_OK && address != null) {
            startAgain()
            work("Looking at the photo ...", "Tap what you want, or drag a box around it.") {
                val bitmap = upright(address)
                runOnUiThread { picture.photo = bitmap }
                photo = null // not the last one's, where this one is refused
                photo = segmenter?.encode(rgbImage(bitmap))
            }
        }
    }

    /** The decoder applies the EXIF orientation; pixels must be readable, so not in the GPU. */
    private fun upright(address: Uri): Bitmap =
        ImageDecoder.decodeBitmap(ImageDecoder.createSource(contentResolver, address)) { decoder, _, _ ->
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
            decoder.setTargetColorSpace(ColorSpace.get(ColorSpace.Named.SRGB))
        }

    private fun tapped(x: Float, y: Float) =
        answer(Prompt(prompt.points + Point(x, y, !background.isChecked), prompt.box))

    private fun boxed(box: Box) = answer(Prompt(prompt.points, box))

    private fun answer(asked: Prompt) {
        prompt = asked
        work("...", "") {
            val encoded = photo ?: return@work
            val mask = segmenter?.answer(encoded, asked)?.mask() ?: return@work
            val overlay = overlay(mask, encoded.frame.height, encoded.frame.width)
            runOnUiThread { picture.overlay = overlay }
        }
    }

    private fun startAgain() {
        prompt = Prompt()
        picture.overlay = null
    }

    /** Do something on the worker; say before what it does, and after what is next or went wrong. */
    private fun work(before: String, after: String, task: () -> Unit) {
        message.text = before
        worker.execute {
            val said = try {
                task()
                after
            } catch (error: Exception) {
                error.message ?: error.toString()
            }
            runOnUiThread { message.text = said }
        }
    }

    override fun onDestroy() {
        worker.shutdown()
        super.onDestroy()
    }

    private companion object {
        /** Folder of the assets that holds the bundle. */
        const val BUNDLE = "tflite-fp16"
        const val PHOTO = 1
    }
}

/** Half transparent blue where the mask is. */
private fun overlay(mask: BooleanArray, height: Int, width: Int): Bitmap {
    val colours = IntArray(mask.size) { if (mask[it]) 0x800078ff.toInt() else 0 }
    return Bitmap.createBitmap(colours, width, height, Bitmap.Config.ARGB_8888)
}
