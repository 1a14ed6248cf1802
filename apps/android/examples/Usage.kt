// The code of docs/android.md, compiled by its tests.

package mobilesam.examples

import android.content.res.AssetManager
import android.graphics.Bitmap
import mobilesam.Box
import mobilesam.Point
import mobilesam.Prompt
import mobilesam.android.openBundle
import mobilesam.android.rgbImage

fun usage(assets: AssetManager, bitmap: Bitmap): List<BooleanArray> {
    val segmenter = openBundle(assets, "tflite-fp16")

    val photo = segmenter.encode(rgbImage(bitmap)) // upright; once a photo
    val click = Prompt(points = listOf(Point(320f, 240f)))
    val answer = segmenter.answer(photo, click) // once a prompt
    val mask: BooleanArray = answer.mask() // row by row, the photo's size

    // A box, and a refinement with a point that does not belong to the object.
    val boxed = segmenter.answer(photo, Prompt(box = Box(100f, 80f, 420f, 390f)))
    val better = segmenter.answer(
        photo,
        Prompt(
            points = click.points + Point(90f, 60f, isForeground = false),
            earlierLogits = answer.lowResLogitsOf(),
        ),
    )
    return listOf(mask, boxed.mask(), better.mask())
}
