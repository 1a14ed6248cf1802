"""android.md: a TFLite bundle in Kotlin, with the library of apps/android and with LiteRT alone."""

from collections.abc import Sequence

from mobilesam.apps.layout import Listed, facts, require_scaled_by_app, size_bytes
from mobilesam.bundle.manifest import BundleFolder
from mobilesam.errors import BundleError

RUNTIME = "litert"

_HEAD = """\
# On Android

Copy the bundle's folder into the app's `assets`, and keep the build from compressing its files
(`androidResources {{ noCompress += "tflite" }}`). LiteRT comes from Google's Maven repository:
`implementation("com.google.ai.edge.litert:litert:2.1.5")`. Call it away from the main thread.

{sample}
"""

_NONE = "No bundle of this release is for Android: `mobilesam export --target tflite` makes one."

_LIBRARY = """\
```kotlin
import android.content.res.AssetManager
import android.graphics.Bitmap
import mobilesam.Point
import mobilesam.Prompt
import mobilesam.android.openBundle
import mobilesam.android.rgbImage

/** The mask of a click at x, y, in pixels of an upright photo: row by row, the photo's size. */
fun maskBy{type}(assets: AssetManager, bitmap: Bitmap, x: Float, y: Float): BooleanArray {{
    val segmenter = openBundle(assets, "{name}") // keep it, and the encoded photo
    val photo = segmenter.encode(rgbImage(bitmap))
    return segmenter.answer(photo, Prompt(points = listOf(Point(x, y)))).mask()
}}
```"""

_ALONE = """\
```kotlin
import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.tensorflow.lite.Interpreter

/** {encoder} and {decoder}, mapped. */
class {type}(encoderFile: ByteBuffer, decoderFile: ByteBuffer) {{
    private val options = Interpreter.Options().setNumThreads(4)
    private val encoder = Interpreter(encoderFile, options)
    private val decoder = Interpreter(decoderFile, options)

    /** Direct buffer of {image_bytes} bytes: {image_shape} {image_dtype}; see the table above. */
    fun encode(image: ByteBuffer{valid_argument}): ByteBuffer {{
        val embeddings = bytes({embedding_bytes})
        val inputs = mapOf<String, Any>({encoder_inputs})
        val outputs = mapOf<String, Any>("image_embeddings" to embeddings)
        encoder.runSignature(inputs, outputs, "{encode}")
        return embeddings
    }}

    /** A click at x, y in pixels of the frame of {size} x {size}. */
    fun click(embeddings: ByteBuffer, x: Float, y: Float): Map<String, ByteBuffer> {{
        embeddings.rewind()
        val coords = FloatArray({coords})
        coords[0] = x
        coords[1] = y
        val labels = FloatArray({slots}) {{ -2f }} // unused
        labels[0] = 1f // the point
        labels[1] = -1f // the padding point that stands for "no box"
        val inputs = mapOf<String, Any>(
            "image_embeddings" to embeddings,
            "point_coords" to floats(*coords),
            "point_labels" to floats(*labels),
            "mask_input" to bytes({mask_input_bytes}),
            "has_mask_input" to floats(0f),
        )
        val outputs = mapOf(
{outputs}
        )
        decoder.runSignature(inputs, outputs, "{decode}")
        outputs.values.forEach {{ it.rewind() }}
        return outputs
    }}

    private fun bytes(count: Int): ByteBuffer =
        ByteBuffer.allocateDirect(count).order(ByteOrder.nativeOrder())

    private fun floats(vararg values: Float): ByteBuffer =
        bytes(4 * values.size).also {{ it.asFloatBuffer().put(values) }}
}}
```"""

_AFTER = {
    "low_res": "The app chooses a mask (of a lone point the best of masks 1 to 3 by "
    "`iou_predictions`, else mask 0), scales its logits to the frame, crops, scales to the photo, "
    "and takes what is above 0.",
    "full": "The app crops `masks` to the photo's part of the frame and scales it to the photo by "
    "the nearest pixels: 255 is mask.",
}


def page(bundles: Sequence[Listed], *, beside_sample: bool = False) -> str:
    """The page of a release's bundles, with code for each that LiteRT runs.

    Args:
        beside_sample: whether the sample app lies beside the page.
    """
    own = [each for each in bundles if RUNTIME in each.bundle.runtimes]
    if not own:
        return f"# On Android\n\n{_NONE}\n"
    sample = ""
    if not beside_sample:
        sample = (
            f"`mobilesam new-app android {own[0].folder} app` writes a sample app with that "
            "bundle, and the Kotlin library that the first block of each bundle calls."
        )
    parts = [_HEAD.format(sample=sample).strip()]
    for each in own:
        library = _LIBRARY.format(type=each.type_name, name=each.name)
        parts += [f"## {each.name}", facts(each, RUNTIME), "With the Kotlin library:", library]
        parts += ["With LiteRT alone:", _alone(each), _AFTER[each.bundle.manifest.masks]]
    return "\n\n".join(parts) + "\n"


def require_fit(bundle: BundleFolder) -> None:
    """Check that the library of apps/android runs a bundle.

    Raises:
        BundleError: it does not, with the reason.
    """
    require_scaled_by_app(bundle)
    if RUNTIME not in bundle.runtimes:
        raise BundleError(
            f"the Android sample does not run {bundle.path}: it is for {bundle.manifest.target}, "
            "and LiteRT runs tflite; export it with --target tflite"
        )


def _alone(each: Listed) -> str:
    manifest = each.bundle.manifest
    encoder, decoder = manifest.signatures["encoder"], manifest.signatures["decoder"]
    image = each.tensor("encoder", "image")
    takes_size = any(tensor.name == "valid_size" for tensor in encoder.inputs)
    inputs = ['"image" to image']
    if takes_size:
        inputs.append('"valid_size" to floats(validHeight, validWidth)')
    outputs = [f'            "{t.name}" to bytes({size_bytes(t)}),' for t in decoder.outputs]
    labels = each.tensor("decoder", "point_labels")
    return _ALONE.format(
        type=each.type_name,
        encoder=each.bundle.record("encoder", RUNTIME).path,
        decoder=each.bundle.record("decoder", RUNTIME).path,
        image_bytes=size_bytes(image),
        image_shape=" x ".join(map(str, image.shape)),
        image_dtype=image.dtype,
        valid_argument=", validHeight: Float, validWidth: Float" if takes_size else "",
        embedding_bytes=size_bytes(encoder.outputs[0]),
        encoder_inputs=", ".join(inputs),
        encode=encoder.name,
        decode=decoder.name,
        size=manifest.image_size,
        slots=labels.shape[1],
        coords=2 * labels.shape[1],
        mask_input_bytes=size_bytes(each.tensor("decoder", "mask_input")),
        outputs="\n".join(outputs),
    )
