"""What it costs to scale a photo for the encoder as a platform does, and not as Pillow does.

    pip install skia-python==144.1 opencv-python-headless==5.0.0.93
    python -m benchmarks.scalers PHOTOS --names mobilesam/training/recipes/held_out.txt

SAM scales photos by Pillow's bilinear filter, which widens when it shrinks. Every other scaler here
makes of the same photo an image of the same size. PyTorch encodes both, and is asked for the
largest objects of the photo by a click and by a box. Of each scaler are printed the IoU of the mask
that is shown with the mask of Pillow's image, mean and worst; how many of those masks differ to the
eye; the mean IoU with the human mask, beside that of Pillow's; and how far the pixels differ.

The photos are smaller than the frame and are enlarged, which scalers do much alike. Photos of a
phone are shrunk: for these, photos are laid edge to edge in sheets.

What is run, and what is arithmetic only:

- Android's ``Bitmap.createScaledBitmap(filter = true)`` draws with Skia's linear filter and no
  mipmaps: run by Skia itself (``skia-python``, on the CPU), not on a device.
- A canvas's ``drawImage`` is run by Chromium, headless, without a GPU.
- OpenCV's scalers are run by OpenCV.
- ONNX's ``Resize`` with antialiasing, of which a graph could be made that scales photos of any
  size, is run by ONNX Runtime.
- vImage cannot be run here. Apple names its algorithm, Lanczos, whose definition is computed; that
  it has 3 lobes, and widens and rounds as Pillow does, is assumed. Core Graphics is left out, since
  Apple does not say how it scales.
"""

import base64
import io
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import onnxruntime
import skia
import torch
import typer
from onnx import TensorProto, helper
from PIL import Image

from mobilesam.data.image_files import read_names
from mobilesam.files import written_whole
from mobilesam.inference.images import load_image
from mobilesam.inference.predictor import Predictor
from mobilesam.inference.resampling import resampled, taps
from mobilesam.inference.transforms import Frame, normalized_input, resize_longest_side
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from parity.evaluation.masked_photos import TrueMask, chosen, manifest_photos
from parity.metrics import SAME_TO_THE_EYE, iou

Scaler = Callable[[np.ndarray, int, int], np.ndarray]
"""An image HxWx3 uint8 RGB, and the width and height it is to have."""

CELL = 640
"""Side of a photo's place in a sheet; what it does not fill is the photo mirrored."""

OF_A_SHEET = 12
"""Objects asked for, the largest."""

SMALLEST = 1024
"""Pixels of an object in the frame: smaller ones are not asked for."""

PAGE = """<canvas id="canvas" width="{width}" height="{height}"></canvas><script>
const image = new Image();
image.onload = () => {{
  const context = document.getElementById("canvas").getContext("2d");
  context.imageSmoothingQuality = "{quality}";
  context.drawImage(image, 0, 0, {width}, {height});
  const {{ data }} = context.getImageData(0, 0, {width}, {height});
  let text = "";
  for (let start = 0; start < data.length; start += 32768)
    text += String.fromCharCode(...data.subarray(start, start + 32768));
  document.body.textContent = "pixels:" + btoa(text) + ":";
}};
image.src = "data:image/png;base64,{png}";
</script>"""
"""Draws an image scaled, and leaves its pixels as text."""


class Scene(NamedTuple):
    """An image HxWx3 uint8 and the objects that are asked for."""

    image: np.ndarray
    objects: list[TrueMask]


class Answer(NamedTuple):
    """One prompt with one scaler: IoUs of its mask, and the IoU of Pillow's with the human mask."""

    with_pillow: float
    with_human: float
    pillow_with_human: float
    pixels: float


class ScaledPredictor(Predictor):
    """Scales photos by whatever scaler is set."""

    def __init__(self, model: MobileSAM) -> None:
        super().__init__(model)
        self.scaler: Scaler = pillow

    def scaled(self, pixels: np.ndarray) -> np.ndarray:
        """As the encoder is to get the photo, but for normalising and padding."""
        height, width = Frame((pixels.shape[0], pixels.shape[1]), self.image_size).valid_size
        made = self.scaler(pixels, width, height)
        assert made.shape == (height, width, 3) and made.dtype == np.uint8
        return made

    @torch.inference_mode()
    def _encode(self, pixels: np.ndarray) -> torch.Tensor:
        batch = self._tensor(normalized_input(self.scaled(pixels), self.image_size))
        embedding: torch.Tensor = self.model.image_encoder(batch)
        return embedding

    def masks(self, scene: Scene) -> list[np.ndarray]:
        """The mask shown for a click and for a box, of each object in turn."""
        self.set_image(scene.image)
        shown = []
        for wanted in scene.objects:
            masks, scores, _ = self.predict([wanted.point], [1])
            shown.append(masks[int(np.argmax(scores))])
            masks, _, _ = self.predict(box=wanted.box, multimask_output=False)
            shown.append(masks[0])
        return shown


def pillow(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """As SAM does."""
    return resize_longest_side(image, max(width, height))


def nearest(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """One pixel for one pixel, by Pillow."""
    return np.array(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST))


def lanczos(image: np.ndarray, width: int, height: int, *, lobes: int) -> np.ndarray:
    """Windowed sinc, by its definition."""

    def kernel(x: np.ndarray) -> np.ndarray:
        return np.where(np.abs(x) < lobes, np.sinc(x) * np.sinc(x / lobes), 0.0)

    across = resampled(image, 1, taps(image.shape[1], width, kernel, lobes))
    return resampled(across, 0, taps(image.shape[0], height, kernel, lobes))


def android(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Drawn with a scaled matrix and a linear filter, as Android draws a scaled bitmap."""
    opaque = np.full((*image.shape[:2], 1), 255, np.uint8)
    rgba = skia.kRGBA_8888_ColorType
    pixels = np.ascontiguousarray(np.concatenate([image, opaque], axis=2))
    surface = skia.Surface.MakeRasterN32Premul(width, height)
    canvas = surface.getCanvas()
    canvas.scale(width / image.shape[1], height / image.shape[0])
    linear = skia.SamplingOptions(skia.FilterMode.kLinear)
    canvas.drawImage(skia.Image.fromarray(pixels, colorType=rgba), 0, 0, linear)
    drawn: np.ndarray = surface.makeImageSnapshot().toarray(colorType=rgba)
    return drawn[..., :3]


def opencv(image: np.ndarray, width: int, height: int, *, interpolation: int) -> np.ndarray:
    """``cv2.resize``."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=interpolation))


@cache
def onnx_session() -> onnxruntime.InferenceSession:
    """One ``Resize`` as Pillow defines it: the kernel widens, and ends at the image's edge."""
    resize = helper.make_node(
        "Resize",
        ["image", "", "", "sizes"],
        ["scaled"],
        mode="linear",
        antialias=1,
        exclude_outside=1,
    )
    kind = TensorProto.UINT8
    given = [
        helper.make_tensor_value_info("image", kind, [1, 3, "height", "width"]),
        helper.make_tensor_value_info("sizes", TensorProto.INT64, [4]),
    ]
    scaled = helper.make_tensor_value_info("scaled", kind, [1, 3, "new_height", "new_width"])
    graph = helper.make_graph([resize], "resize", given, [scaled])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def onnx(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """ONNX's ``Resize``."""
    given = {
        "image": np.ascontiguousarray(image.transpose(2, 0, 1)[None]),
        "sizes": np.array([1, 3, height, width], np.int64),
    }
    (scaled,) = onnx_session().run(None, given)
    return np.asarray(scaled)[0].transpose(1, 2, 0)


def canvas(image: np.ndarray, width: int, height: int, *, quality: str, browser: str) -> np.ndarray:
    """``drawImage`` of a browser's canvas, with an ``imageSmoothingQuality``."""
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "PNG", compress_level=1)
    png = base64.b64encode(stored.getvalue()).decode("ascii")
    page = PAGE.format(width=width, height=height, quality=quality, png=png)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(page, "utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}"]
        command = [browser, *options, "--virtual-time-budget=60000", "--dump-dom", str(path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search("pixels:([^:]+):", said)
    assert found, "the page drew nothing"
    pixels = np.frombuffer(base64.b64decode(found[1]), np.uint8)
    return pixels.reshape(height, width, 4)[..., :3]


def scalers(browser: str) -> dict[str, Scaler]:
    """All but SAM's own, by what the table calls them."""
    return {
        "Android: filtered bitmap (Skia, linear)": android,
        **{
            f"Canvas: `drawImage`, {quality} quality": partial(
                canvas, quality=quality, browser=browser
            )
            for quality in ("low", "high")
        },
        "vImage: Lanczos, 3 lobes (by definition)": partial(lanczos, lobes=3),
        "OpenCV: `INTER_LINEAR`": partial(opencv, interpolation=cv2.INTER_LINEAR),
        "OpenCV: `INTER_AREA`": partial(opencv, interpolation=cv2.INTER_AREA),
        "ONNX Runtime: `Resize` with antialiasing": onnx,
        "nearest pixel": nearest,
    }


def scenes(photos: Sequence[Scene], objects: int, size: int) -> Iterator[Scene]:
    """Photos with their largest objects, those that are large enough in the frame."""
    for image, known in photos:
        factor = size / max(image.shape[:2])
        large = [known_one for known_one in known if area(known_one) * factor**2 >= SMALLEST]
        yield Scene(image, sorted(large, key=area, reverse=True)[:objects])


def area(wanted: TrueMask) -> int:
    """Pixels of an object."""
    return int(np.count_nonzero(wanted.mask))


def sheet(photos: Sequence[Scene], columns: int) -> Scene:
    """Photos edge to edge in rows of so many; no object of one lies in another."""
    rows = len(photos) // columns
    image = np.empty((rows * CELL, columns * CELL, 3), np.uint8)
    objects = []
    for place, photo in enumerate(photos[: rows * columns]):
        top, left = (CELL * at for at in divmod(place, columns))
        cut = photo.image[:CELL, :CELL]
        height, width = cut.shape[:2]
        missing = ((0, CELL - height), (0, CELL - width), (0, 0))
        image[top : top + CELL, left : left + CELL] = np.pad(cut, missing, "symmetric")
        for known in photo.objects:
            x, y = known.point
            if x < width and y < height:
                mask = np.zeros(image.shape[:2], bool)
                mask[top : top + height, left : left + width] = known.mask[:CELL, :CELL]
                objects.append(TrueMask(known.category, mask, (left + x, top + y)))
    return Scene(image, objects)


def measure(
    predictor: ScaledPredictor, scene: Scene, known: Mapping[str, Scaler]
) -> dict[str, list[Answer]]:
    """Answers of each scaler, a click and a box for each object in turn."""
    predictor.scaler = pillow
    own, wanted = predictor.scaled(scene.image), predictor.masks(scene)
    truths = [truth.mask for truth in scene.objects for _ in range(2)]
    drawn = {own.tobytes(): wanted}
    found = {}
    for name, scaler in known.items():
        predictor.scaler = scaler
        image = predictor.scaled(scene.image)
        key = image.tobytes()
        if key not in drawn:  # two scalers may do the same
            drawn[key] = predictor.masks(scene)
        pixels = float(np.abs(image.astype(int) - own).mean())
        found[name] = [
            Answer(iou(mine, theirs), iou(mine, truth), iou(theirs, truth), pixels)
            for mine, theirs, truth in zip(drawn[key], wanted, truths, strict=True)
        ]
    return found


def table(results: Mapping[str, Sequence[Answer]]) -> list[str]:
    """Lines of Markdown: a row for each scaler."""
    lines = [
        "| scaler | click: mean, worst, differ | box: mean, worst, differ "
        "| human, click: Pillow, scaler | human, box: Pillow, scaler | grey levels |",
        "|---|---|---|---|---|---|",
    ]
    for name, answers in results.items():
        same, human = [], []
        for of_kind in (answers[0::2], answers[1::2]):
            own = np.array([answer.with_pillow for answer in of_kind])
            differ = f"{int((own < SAME_TO_THE_EYE).sum())} of {len(own)}"
            same.append(f"{own.mean():.4f}, {own.min():.3f}, {differ}")
            before = np.mean([answer.pillow_with_human for answer in of_kind])
            after = np.mean([answer.with_human for answer in of_kind])
            human.append(f"{before:.4f}, {after:.4f}")
        pixels = np.mean([answer.pixels for answer in answers])
        lines.append(f"| {name} | " + " | ".join([*same, *human]) + f" | {pixels:.2f} |")
    return lines


def main(
    folder: Annotated[Path, typer.Argument(help="Photos with masks: a folder with a manifest.")],
    names: Annotated[Path, typer.Option(help="File that names the photos.")],
    photos: Annotated[int, typer.Option(help="Photos taken as they are, the first ones.")] = 12,
    objects: Annotated[int, typer.Option(help="Objects of a photo, the largest.")] = 2,
    sheets: Annotated[list[int] | None, typer.Option(help="Sheets of so many columns.")] = None,
    image_size: Annotated[int, typer.Option(help="S.")] = 1024,
    browser: Annotated[str, typer.Option(help="Command of a Chromium.")] = "chromium",
    only: Annotated[str, typer.Option(help="Scalers whose name begins so.")] = "",
    out: Annotated[Path | None, typer.Option(help="Also write the tables here.")] = None,
) -> None:
    """Measure, and print a table for photos as they are and one for each width of sheet."""
    torch.set_num_threads(1)
    predictor = ScaledPredictor(load_model(image_size=image_size))
    known = {name: each for name, each in scalers(browser).items() if name.startswith(only)}
    every = []
    for photo in chosen(manifest_photos(folder), read_names(names), names):
        image = load_image(photo.path)
        every.append(Scene(image, photo.targets(image.shape[:2])))
    kinds = {"as they are": list(scenes(every[:photos], objects, image_size))}
    for columns in sheets or (3, 6):
        rows = columns * 2 // 3
        per_photo = list(scenes(every, objects, CELL))
        a_page, pages = rows * columns, []
        for start in range(0, max(photos, a_page), a_page):
            pages.append(sheet(per_photo[start : start + a_page], columns))
        kinds[f"sheets of {columns} x {rows}"] = list(scenes(pages, OF_A_SHEET, image_size))
    lines = []
    for kind, of_kind in kinds.items():
        results: dict[str, list[Answer]] = {name: [] for name in known}
        for scene in of_kind:
            for name, answers in measure(predictor, scene, known).items():
                results[name] += answers
            print(kind, scene.image.shape, len(scene.objects), flush=True)
        factor = [max(scene.image.shape[:2]) / image_size for scene in of_kind]
        prompts = sum(len(scene.objects) for scene in of_kind)
        lines += [
            "",
            f"{kind}: {len(of_kind)} images, {min(factor):.2f} to {max(factor):.2f} times as "
            f"large as the frame, {prompts} clicks and {prompts} boxes",
            "",
            *table(results),
        ]
        print("\n".join(lines[-len(known) - 5 :]), flush=True)
    if out is not None:
        with written_whole(out) as partial_file:
            partial_file.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    typer.run(main)
