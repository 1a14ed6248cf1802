"""web.md: a TFLite or ONNX bundle in JavaScript, in the browser."""

import json
from collections.abc import Sequence

from mobilesam.apps.layout import Listed, facts
from mobilesam.bundle.manifest import BundleFolder, Manifest
from mobilesam.errors import BundleError
from mobilesam.web.site import runtime_of

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
import {{ answerOf, decoderInputs, encoderInputs, frameOf }} from "./mobilesam.js";

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
    const shape = [...tensor.type.layout.dimensions];
    answers[name] = {{ data: (await tensor.data()).slice(), shape }};
    tensor.delete();
  }}
  for (const tensor of Object.values(given)) tensor.delete();
  return answers;
}}
""",
    "onnxruntime": """\
import * as ort from "onnxruntime-web";
import {{ answerOf, decoderInputs, encoderInputs, frameOf }} from "./mobilesam.js";

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
    answers[name] = {{ data: await tensor.getData(), shape: tensor.dims }};
  }}
  return answers;
}}
""",
}

_CLICK = """\

const contract = {contract};

export async function click(photo, x, y) {{
  const frame = frameOf(photo.height, photo.width, contract.imageSize);
  const encoded = await run(encoder, "{encode}", encoderInputs(photo, contract)); // once a photo
  const prompt = {{ points: [{{ x, y, foreground: true }}] }};
  const inputs = decoderInputs(prompt, frame, contract);
  const answer = await run(decoder, "{decode}", {{ ...encoded, ...inputs }});
  return answerOf(answer, prompt, frame, contract).mask;
}}
"""


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
    """What runs the bundle in a browser; empty where nothing does."""
    try:
        return runtime_of(bundle)
    except BundleError:
        return ""


def _module(each: Listed, runtime: str) -> str:
    manifest = each.bundle.manifest
    return _IMPORTS[runtime].format(
        encoder=each.file("encoder", runtime),
        decoder=each.file("decoder", runtime),
    ) + _CLICK.format(
        contract=json.dumps(_contract(manifest), indent=2),
        encode=manifest.signatures["encoder"].name,
        decode=manifest.signatures["decoder"].name,
    )


def _contract(manifest: Manifest) -> dict[str, object]:
    """What ``mobilesam.ts`` calls a contract."""
    return {
        "imageSize": manifest.image_size,
        "lowResSize": manifest.contract.low_res_size,
        "slots": manifest.slots,
        "slotCounts": list(manifest.slot_counts),
        "inputVariant": manifest.input_variant,
        "channelOrder": manifest.channel_order,
        "photoSize": manifest.photo_size,
        "masks": manifest.masks,
        "mean": manifest.preprocessing.get("mean"),
        "std": manifest.preprocessing.get("std"),
        "threshold": 0 if manifest.masks == "full" else manifest.postprocessing["threshold"],
    }
