"""python.md: a bundle's files in Python, with this package and with the runtime alone."""

from collections.abc import Sequence

from mobilesam.apps.layout import Listed, facts
from mobilesam.bundle.manifest import Manifest

ALONE = ("litert", "onnxruntime")
"""Runtimes that the page shows without this package."""

_HEAD = """\
# In Python

Each block is a program of its own, to be started in this folder with a photo `photo.jpg` beside it.
"""

_LIBRARY = """\
```python
from mobilesam import Bundle

with Bundle("{folder}").predictor({runtime!r}) as predictor:
    predictor.set_image("photo.jpg")
    height, width = predictor.frame.original_size
    masks, scores, logits = predictor.predict([[width / 2, height / 2]], [1])
mask = masks[scores.argmax()]  # bool, the photo's size
```"""

_SCALED = """\
S = {size}
photo = np.asarray(ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB"))
H, W = photo.shape[:2]
factor = S / max(H, W)
h, w = int(H * factor + 0.5), int(W * factor + 0.5)
scaled = np.asarray(Image.fromarray(photo).resize((w, h), Image.Resampling.BILINEAR))
"""

_IMAGES = {
    "pixels": """\
image = np.zeros({shape}, np.{dtype})
image[0, :, :h, :w] = scaled.transpose(2, 0, 1)
""",
    "normalized": """\
image = np.zeros({shape}, np.{dtype})
mean, std = np.array({mean}, np.float32), np.array({std}, np.float32)
image[0, :, :h, :w] = ((scaled - mean) / std).transpose(2, 0, 1)
""",
    "uint8": """\
image = np.zeros({shape}, np.{dtype})
image[0, :h, :w, :3] = scaled{order}
""",
}

_OPENED = {
    "litert": (
        "from ai_edge_litert.interpreter import Interpreter",
        """\
encode = Interpreter(model_path="{encoder}").get_signature_runner("{encode}")
decode = Interpreter(model_path="{decoder}").get_signature_runner("{decode}")
""",
        "encode(**{inputs})",
        "decode(**{inputs})",
    ),
    "onnxruntime": (
        "import onnxruntime",
        """\
CPU = ["CPUExecutionProvider"]
encoder = onnxruntime.InferenceSession("{encoder}", providers=CPU)
decoder = onnxruntime.InferenceSession("{decoder}", providers=CPU)
""",
        "dict(zip([o.name for o in encoder.get_outputs()], encoder.run(None, {inputs})))",
        "dict(zip([o.name for o in decoder.get_outputs()], decoder.run(None, {inputs})))",
    ),
}

_PROMPT = """\
x, y = W / 2, H / 2  # a click, in pixels of the photo
K = {slots}
coords = np.zeros((1, K, 2), np.float32)
coords[0, 0] = x * w / W, y * h / H
labels = np.full((1, K), -2, np.float32)  # unused
labels[0, :2] = 1, -1  # the point, and the padding point that stands for "no box"
"""

_LOW_RES = """\


def interpolated(old, new):
    \"\"\"[new, old] weights of bilinear interpolation with align_corners = false.\"\"\"
    position = np.maximum(0.0, (np.arange(new) + 0.5) * old / new - 0.5)
    low = np.minimum(position.astype(int), old - 1)
    high = np.minimum(low + 1, old - 1)
    weights = np.zeros((new, old))
    weights[np.arange(new), low] += 1 - (position - low)
    weights[np.arange(new), high] += position - low
    return weights


# A lone point is ambiguous: the best of masks 1 to 3. For any other prompt take mask 0.
chosen = 1 + int(answer["iou_predictions"][0, 1:].argmax())
up = interpolated({low}, S)
frame = up[:h] @ answer["low_res_masks"][0, chosen] @ up[:w].T
mask = interpolated(h, H) @ frame @ interpolated(w, W).T > 0  # bool, the photo's size
"""

_FULL = """\
frame = Image.fromarray(answer["masks"][0, 0, :h, :w])
mask = np.asarray(frame.resize((W, H), Image.Resampling.NEAREST)) == 255  # bool, the photo's size
"""

_SAM = """\
mask = answer["masks"][0, 0] > 0  # bool, the photo's size
"""


def page(bundles: Sequence[Listed]) -> str:
    """The page of a release's bundles, with code for each."""
    parts = [_HEAD.strip()]
    for each in bundles:
        for runtime in each.bundle.runtimes:
            title = each.name if len(each.bundle.runtimes) == 1 else f"{each.name}, {runtime}"
            parts += [f"## {title}", facts(each, runtime), "With mobilesam-export:"]
            parts.append(_LIBRARY.format(folder=each.folder, runtime=runtime))
            if runtime in ALONE:
                parts += ["With the runtime alone:", f"```python\n{_alone(each, runtime)}```"]
    return "\n\n".join(parts) + "\n"


def _alone(each: Listed, runtime: str) -> str:
    manifest = each.bundle.manifest
    sam = manifest.interface == "sam"
    imported, opened, encode, decode = _OPENED[runtime]
    imports = sorted(["import numpy as np", *([imported] if "from" not in imported else [])])
    froms = sorted(["from PIL import Image, ImageOps", *([imported] if "from" in imported else [])])
    names = {
        "encoder": each.file("encoder", runtime),
        "decoder": each.file("decoder", runtime),
        "encode": manifest.signatures["encoder"].name,
        "decode": manifest.signatures["decoder"].name,
    }
    return "".join(
        [
            "\n".join([*imports, *froms]) + "\n\n",
            _SCALED.format(size=manifest.image_size),
            "\n",
            _image(each, manifest),
            opened.format(**names),
            f"embedding = {encode.format(inputs=_encoder_inputs(manifest))}\n\n",
            _PROMPT.format(slots=2 if sam else manifest.slots),
            f"given = {_decoder_inputs(each, manifest)}\n",
            f"answer = {decode.format(inputs='given')}\n",
            _SAM
            if sam
            else _FULL
            if manifest.masks == "full"
            else _LOW_RES.format(low=manifest.contract.low_res_size),
        ]
    )


def _image(each: Listed, manifest: Manifest) -> str:
    if manifest.interface == "sam":
        return "image = scaled.astype(np.float32)  # the graph normalises and pads\n"
    image = each.tensor("encoder", "image")
    return _IMAGES[manifest.input_variant].format(
        shape=tuple(image.shape),
        dtype=image.dtype,
        mean=manifest.preprocessing.get("mean"),
        std=manifest.preprocessing.get("std"),
        order="[..., ::-1]" if manifest.channel_order == "bgr" else "",
    )


def _encoder_inputs(manifest: Manifest) -> str:
    given = {
        "image": "image",
        "input_image": "image",
        "valid_size": "np.array([h, w], np.float32)",
    }
    return _dictionary({t.name: given[t.name] for t in manifest.signatures["encoder"].inputs})


def _decoder_inputs(each: Listed, manifest: Manifest) -> str:
    low = each.tensor("decoder", "mask_input").shape
    given = {
        "image_embeddings": 'embedding["image_embeddings"]',
        "point_coords": "coords",
        "point_labels": "labels",
        "mask_input": f"np.zeros({tuple(low)}, np.float32)",
        "has_mask_input": "np.zeros(1, np.float32)",
        "orig_im_size": "np.array([H, W], np.float32)",
    }
    return _dictionary(
        {t.name: given[t.name] for t in manifest.signatures["decoder"].inputs}, lines=True
    )


def _dictionary(entries: dict[str, str], *, lines: bool = False) -> str:
    texts = [f'"{name}": {value}' for name, value in entries.items()]
    if lines:
        return "{\n" + "".join(f"    {text},\n" for text in texts) + "}"
    return "{" + ", ".join(texts) + "}"
