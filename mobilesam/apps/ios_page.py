"""ios.md: a Core ML bundle in Swift, with the package of apps/apple and with Core ML alone."""

from collections.abc import Sequence

from mobilesam.apps.layout import Listed, facts, require_scaled_by_app, values
from mobilesam.bundle.manifest import BundleFolder, Manifest
from mobilesam.errors import BundleError

RUNTIME = "coreml"

_HEAD = """\
# On iOS and macOS

Add the bundle's folder to the app as a folder reference. The Swift of this page was not
compiled: there was no Mac.
"""

_SAMPLE = (
    "`mobilesam new-app ios {folder} app` writes a sample app with that bundle, and the Swift "
    "package that the first block of each bundle calls."
)

_NONE = "No bundle of this release is for iOS: `mobilesam export --target coreml` makes one."

_LIBRARY = """\
```swift
import CoreGraphics
import Foundation
import MobileSAM

/// The mask of a click at x, y, in pixels of an upright photo: row by row, the photo's size.
func maskBy{type}(_ image: CGImage, x: Float, y: Float) async throws -> [Bool] {{
    let bundle = Bundle.main.url(forResource: "{name}", withExtension: nil)!
    let segmenter = try await Segmenter(bundle: bundle, computeUnits: .all)  // keep it
    let photo = try segmenter.encode(image)  // once a photo
    return try segmenter.answer(Prompt(points: [Prompt.Point(x: x, y: y)]), on: photo).mask()
}}
```"""

_ALONE = """\
```swift
import CoreML
import Foundation

/// `{encoder}` and `{decoder}`; each tensor goes by its name.
final class {type} {{
    let encoder: MLModel
    let decoder: MLModel

    init(folder: URL) async throws {{
        encoder = try await Self.model(folder.appendingPathComponent("{encoder}"){encode})
        decoder = try await Self.model(folder.appendingPathComponent("{decoder}"){decode})
    }}

    /// - Parameter image: {image}.
    func encode(_ image: {image_type}{valid_argument}) throws -> MLMultiArray {{
        let inputs: [String: MLFeatureValue] = [
            "image": MLFeatureValue({image_label}: image),
{valid}        ]
        let output = try encoder.prediction(from: MLDictionaryFeatureProvider(dictionary: inputs))
        return output.featureValue(for: "image_embeddings")!.multiArrayValue!
    }}

    /// A click at x, y in pixels of the frame of {size} x {size}: {outputs}.
    func click(_ embeddings: MLMultiArray, x: Float, y: Float) throws -> MLFeatureProvider {{
        var coords = [Float](repeating: 0, count: {coords})
        coords[0] = x
        coords[1] = y
        var labels = [Float](repeating: -2, count: {slots})  // unused
        labels[0] = 1  // the point
        labels[1] = -1  // the padding point that stands for "no box"
        let earlier = [Float](repeating: 0, count: {mask_input})
        let inputs: [String: MLFeatureValue] = [
            "image_embeddings": MLFeatureValue(multiArray: embeddings),
            "point_coords": try Self.value(coords, [1, {slots}, 2]),
            "point_labels": try Self.value(labels, [1, {slots}]),
            "mask_input": try Self.value(earlier, {mask_input_shape}),
            "has_mask_input": try Self.value([0], [1]),
        ]
        return try decoder.prediction(from: MLDictionaryFeatureProvider(dictionary: inputs))
    }}

    private static func model(_ package: URL, function: String? = nil) async throws -> MLModel {{
        let configuration = MLModelConfiguration()
        if #available(iOS 18, macOS 15, *), let function {{ configuration.functionName = function }}
        let compiled = try await MLModel.compileModel(at: package)
        return try MLModel(contentsOf: compiled, configuration: configuration)
    }}

    private static func value(_ floats: [Float], _ shape: [Int]) throws -> MLFeatureValue {{
        let array = try MLMultiArray(shape: shape.map {{ NSNumber(value: $0) }}, dataType: .float32)
        for (index, float) in floats.enumerated() {{ array[index] = NSNumber(value: float) }}
        return MLFeatureValue(multiArray: array)
    }}
}}
```"""

_VALID = """\
            "valid_size": try Self.value([validHeight, validWidth], [2]),
"""


def page(bundles: Sequence[Listed], *, beside_sample: bool = False) -> str:
    """The page of a release's bundles, with code for each that Core ML runs.

    Args:
        beside_sample: whether the sample app lies beside the page.
    """
    own = [each for each in bundles if RUNTIME in each.bundle.runtimes]
    if not own:
        return f"# On iOS and macOS\n\n{_NONE}\n"
    parts = [_HEAD.strip()]
    if not beside_sample:
        parts.append(_SAMPLE.format(folder=own[0].folder))
    for each in own:
        parts += [f"## {each.name}", facts(each, RUNTIME), "With the Swift package:"]
        parts.append(_LIBRARY.format(type=each.type_name, name=each.name))
        parts += ["With Core ML alone:", _alone(each)]
    return "\n\n".join(parts) + "\n"


def require_fit(bundle: BundleFolder) -> None:
    """Check that the package of apps/apple runs a bundle.

    Raises:
        BundleError: it does not.
    """
    require_scaled_by_app(bundle)
    if RUNTIME not in bundle.runtimes:
        raise BundleError(
            f"the iOS sample does not run {bundle.path}: it is for {bundle.manifest.target}, and "
            "Core ML runs coreml; export it with --target coreml"
        )


def _alone(each: Listed) -> str:
    manifest = each.bundle.manifest
    image = each.tensor("encoder", "image")
    as_picture = manifest.options.get("input") == "image"
    takes_size = any(t.name == "valid_size" for t in manifest.signatures["encoder"].inputs)
    labels, mask_input = (each.tensor("decoder", n) for n in ("point_labels", "mask_input"))
    shape = " x ".join(map(str, image.shape))
    return _ALONE.format(
        type=each.type_name,
        encoder=each.bundle.record("encoder", RUNTIME).path,
        decoder=each.bundle.record("decoder", RUNTIME).path,
        encode=_function(each, "encoder"),
        decode=_function(each, "decoder"),
        image=f"a pixel buffer of {manifest.image_size} x {manifest.image_size}, 32BGRA, the photo "
        "at its top left"
        if as_picture
        else f"{shape} {image.dtype}; see the table above",
        image_type="CVPixelBuffer" if as_picture else "MLMultiArray",
        image_label="pixelBuffer" if as_picture else "multiArray",
        valid_argument=", validHeight: Float, validWidth: Float" if takes_size else "",
        valid=_VALID if takes_size else "",
        size=manifest.image_size,
        outputs=_outputs(manifest),
        slots=labels.shape[1],
        coords=2 * labels.shape[1],
        mask_input=values(mask_input),
        mask_input_shape=list(mask_input.shape),
    )


def _function(each: Listed, component: str) -> str:
    (name,) = (
        record.function
        for record in each.bundle.manifest.files
        if record.component == component and record.runtime == RUNTIME
    )
    return f', function: "{name}"' if name else ""


def _outputs(manifest: Manifest) -> str:
    outputs = manifest.signatures["decoder"].outputs
    return " and ".join(
        f"`{tensor.name}` {' x '.join(map(str, tensor.shape))}" for tensor in outputs
    )
