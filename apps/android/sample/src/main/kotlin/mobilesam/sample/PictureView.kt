// Not built here: there was no Android SDK. Written to Android's documentation.

package mobilesam.sample

import android.annotation.SuppressLint
import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.RectF
import android.view.MotionEvent
import android.view.View
import mobilesam.Box

/**
 * A photo with a mask over it, fitted into the view; taps and boxes come in the photo's pixels.
 *
 * A finger that hardly moves taps; one that moves draws a box.
 */
@SuppressLint("ViewConstructor")
class PictureView(
    context: Context,
    private val tapped: (Float, Float) -> Unit,
    private val boxed: (Box) -> Unit,
) : View(context) {
    var photo: Bitmap? = null
        set(value) {
            field = value
            invalidate()
        }
    var overlay: Bitmap? = null
        set(value) {
            field = value
            invalidate()
        }

    private val filtered = Paint(Paint.FILTER_BITMAP_FLAG)
    private val outline = Paint().apply {
        style = Paint.Style.STROKE
        strokeWidth = 4f
        color = Color.YELLOW
    }

    /** Where the finger went down and is now, on the screen; null where it is up. */
    private var drag: RectF? = null

    private fun scale(photo: Bitmap) =
        minOf(width.toFloat() / photo.width, height.toFloat() / photo.height)

    private fun place(photo: Bitmap): RectF {
        val scale = scale(photo)
        val left = (width - photo.width * scale) / 2
        val top = (height - photo.height * scale) / 2
        return RectF(left, top, left + photo.width * scale, top + photo.height * scale)
    }

    override fun onDraw(canvas: Canvas) {
        super.onDraw(canvas)
        val shown = photo ?: return
        canvas.drawBitmap(shown, null, place(shown), filtered)
        overlay?.let { canvas.drawBitmap(it, null, place(shown), filtered) }
        drag?.let { canvas.drawRect(sorted(it), outline) }
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        val shown = photo ?: return false
        when (event.actionMasked) {
            MotionEvent.ACTION_DOWN -> drag = RectF(event.x, event.y, event.x, event.y)
            MotionEvent.ACTION_MOVE -> drag?.let {
                it.right = event.x
                it.bottom = event.y
            }
            MotionEvent.ACTION_UP -> {
                drag?.let { finished(shown, it) }
                drag = null
            }
            MotionEvent.ACTION_CANCEL -> drag = null
        }
        invalidate()
        return true
    }

    private fun finished(photo: Bitmap, drag: RectF) {
        val place = place(photo)
        val scale = scale(photo)
        fun x(screen: Float) = ((screen - place.left) / scale).coerceIn(0f, photo.width.toFloat())
        fun y(screen: Float) = ((screen - place.top) / scale).coerceIn(0f, photo.height.toFloat())
        val box = sorted(drag)
        val least = 10 * resources.displayMetrics.density
        if (maxOf(box.width(), box.height()) > least) {
            boxed(Box(x(box.left), y(box.top), x(box.right), y(box.bottom)))
        } else {
            tapped(x(drag.left), y(drag.top))
        }
    }

    private fun sorted(drag: RectF) = RectF(drag).apply { sort() }
}
