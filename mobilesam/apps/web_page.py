"""web.md: a TFLite or ONNX bundle in JavaScript, in the browser."""

import json
from collections.abc import Sequence

from mobilesam.apps.layout import Listed, facts
from mobilesam.bundle.manifest import BundleFolder, Manifest
from mobilesam.web.site import RUNTIMES

PACKAGES = {"litert": "@litertjs/core", "onnxruntime": "onnxruntime-web"}

_HEAD = """\
# In the browser

Each block is a module with `click(photo, x, y)`. A photo is what `getImageData` gives, x and y are
its pixels, and the answer is its mask, bytes of 0 and 1. The arithmetic around the files is
[mobilesam.ts](code/mobilesam.ts), which needs nothing else; `npx esbuild code/mobilesam.ts
--outdir=.` makes the `mobilesam.js` that the blocks import.
"""

_PAGE = """\
[web/index.html](web/index.html) is a page that runs the bundles here: serve this folder, for
instance with `python -m http.server`, and open `/web/`. A host should send the headers of
[web/_headers](web/_headers), so that the page may use threads.
"""

_NONE = "No bundle of this release is for a browser: `mobilesam export --target tflite` makes one."

_IMPORTS = {
    "litert": """\
import {{ Tensor, loadAndCompile, loadLiteRt }} from "@litertjs/core";
import {{ {names} }} from "./mobilesam.js";

await loadLiteRt("/node_modules/@litertjs/core/wasm/");
const encoder = await loadAndCompile("{encoder}", {{ accelerator: "wasm" }});
const decoder = await loadAndCompile("{decoder}", {{ accelerator: "wasm" }});

async function run(model, signature, inputs) {{
  const given = {{}};
  for (const [name, {{ data, shape }}] of Object.entries(inputs)) {{
    given[name] = new Tensor(data, [...shape]);
  }}
  const answers = {{}};
  for (const [name, tensor] of Object.entries(await model.run(signature, given))) {{
    answers[name] = (await tensor.data()).slice();
    tensor.delete();
  }}
  for (const tensor of Object.values(given)) tensor.delete();
  return answers;
}}
""",
    "onnxruntime": """\
import * as ort from "onnxruntime-web";
import {{ {names} }} from "./mobilesam.js";

const encoder = await ort.InferenceSession.create("{encoder}");
const decoder = await ort.InferenceSession.create("{decoder}");

async function run(session, _signature, inputs) {{
  const given = {{}};
  for (const [name, {{ data, shape }}] of Object.entries(inputs)) {{
    const dtype = data instanceof Uint8Array ? "uint8" : "float32";
    given[name] = new ort.Tensor(dtype, data, [...shape]);
  }}
  const answers = {{}};
  for (const [name, tensor] of Object.entries(await session.run(given))) {{
    answers[name] = await tensor.getData();
  }}
  return answers;
}}
""",
}

_CLICK = """\

const contract = {contract};

export async function click(photo, x, y) {{
  const frame = frameOf(photo.height, photo.width, contract.imageSize);
{image}
  const encoded = await run(encoder, "{encode}", forEncoder); // once a photo
  const prompt = {{ points: [{{ x, y, foreground: true }}] }};
  const inputs = decoderInputs(prompt, frame, contract);
  const embedding = {{ data: encoded.image_embeddings, shape: {embedding} }};
  const answer = await run(decoder, "{decode}", {{ image_embeddings: embedding, ...inputs }});
{mask}
}}
"""

_PLANES = """\
  const forEncoder = encoderInputs(photo, contract);"""

_BYTES = """\
  const small = scaled(photo, frame);
  const image = new Uint8Array({count});
  for (let row = 0; row < frame.height; row++) {{
    for (let column = 0; column < frame.width; column++) {{
      {order}.forEach((from, place) => {{
        const pixel = row * {size} + column;
        image[pixel * {channels} + place] = small.data[4 * (row * frame.width + column) + from];
      }});
    }}
  }}
  const forEncoder = {{
    image: {{ data: image, shape: {shape} }},
    valid_size: {{ data: Float32Array.of(frame.height, frame.width), shape: [2] }},
  }};"""

_CHOSEN = """\
  const chosen = chosenMask(answer.iou_predictions, isAmbiguous(prompt));
  const side = contract.lowResSize;
  const logits = answer.low_res_masks.slice(chosen * side * side, (chosen + 1) * side * side);
  return maskOf(logits, frame, contract.threshold);"""

_FULL = """\
  const mask = new Uint8Array(photo.width * photo.height);
  for (let i = 0; i < mask.length; i++) {{
    const row = Math.floor(((Math.floor(i / photo.width) + 0.5) * frame.height) / photo.height);
    const column = Math.floor((((i % photo.width) + 0.5) * frame.width) / photo.width);
    mask[i] = answer.masks[row * {size} + column] === 255 ? 1 : 0;
  }}
  return mask;"""


def page(bundles: Sequence[Listed], *, with_page: bool) -> str:
    """The page of a release's bundles, with code for each that a browser runs.

    Args:
        with_page: whether the page of ``mobilesam web`` lies beside it in ``web/``.
    """
    own = [(each, runtime) for each in bundles if (runtime := _runtime(each.bundle))]
    if not own:
        return f"# In the browser\n\n{_NONE}\n"
    parts = [_HEAD.strip(), *([_PAGE.strip()] if with_page else [])]
    for each, runtime in own:
        parts += [f"## {each.name}", facts(each, runtime), f"With `{PACKAGES[runtime]}`:"]
        parts.append(f"```js\n{_module(each, runtime)}```")
    return "\n\n".join(parts) + "\n"


def _runtime(bundle: BundleFolder) -> str:
    """What runs the bundle in a browser; empty where nothing does, or its tensors are SAM's."""
    if bundle.manifest.interface != "mobilesam":
        return ""
    return next((runtime for runtime in bundle.runtimes if runtime in RUNTIMES), "")


def _module(each: Listed, runtime: str) -> str:
    manifest = each.bundle.manifest
    of_bytes, full = manifest.input_variant == "uint8", manifest.masks == "full"
    names = ["decoderInputs", "frameOf", "scaled" if of_bytes else "encoderInputs"]
    names += [] if full else ["chosenMask", "isAmbiguous", "maskOf"]
    size = manifest.image_size
    embedding = manifest.signatures["encoder"].outputs[0]
    return _IMPORTS[runtime].format(
        names=", ".join(sorted(names)),
        encoder=each.file("encoder", runtime),
        decoder=each.file("decoder", runtime),
    ) + _CLICK.format(
        contract=json.dumps(_contract(manifest), indent=2),
        image=_bytes(each, manifest) if of_bytes else _PLANES,
        encode=manifest.signatures["encoder"].name,
        decode=manifest.signatures["decoder"].name,
        embedding=json.dumps(list(embedding.shape)),
        mask=_FULL.format(size=size) if full else _CHOSEN,
    )


def _bytes(each: Listed, manifest: Manifest) -> str:
    shape = list(each.tensor("encoder", "image").shape)
    return _BYTES.format(
        count=shape[1] * shape[2] * shape[3],
        order=json.dumps(["rgba".index(channel) for channel in manifest.channel_order]),
        size=manifest.image_size,
        channels=shape[3],
        shape=json.dumps(shape),
    )


def _contract(manifest: Manifest) -> dict[str, object]:
    """What ``mobilesam.ts`` calls a contract."""
    return {
        "imageSize": manifest.image_size,
        "lowResSize": manifest.contract.low_res_size,
        "slots": manifest.slots,
        "slotCounts": list(manifest.slot_counts),
        "inputVariant": manifest.input_variant,
        "mean": manifest.preprocessing.get("mean"),
        "std": manifest.preprocessing.get("std"),
        "threshold": 0 if manifest.masks == "full" else manifest.postprocessing["threshold"],
    }
