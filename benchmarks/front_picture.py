"""The README's picture: one photo and one click, PyTorch's mask, the file's mask, the verdict.

mobilesam export --target tflite --scheme w8 --out exports
python -m benchmarks.front_picture exports/tflite-w8 docs/images/one-click.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mobilesam import Bundle, Predictor, load_model
from mobilesam.data.sample_photos import PHOTOS
from mobilesam.inference.drawing import draw_masks
from mobilesam.inference.prompts import make_prompt
from parity import compare

PHOTO, CLICK = "camera", (150, 200)
SIDE = 440
"""Pixels of a panel's longer side."""

GROUND, TEXT = (32, 36, 40), (255, 255, 255)
STRIP = 40


def draw(folder: Path) -> Image.Image:
    """The picture of a bundle that was exported from the demo weights."""
    bundle = Bundle(folder)
    photo = next(photo for photo in PHOTOS if photo.name == PHOTO)
    rgb, click = photo.load(), [CLICK]
    model = load_model("demo")
    masks = []
    for predictor in (Predictor(model), bundle.predictor()):
        predictor.set_image(rgb)
        found, predicted, _ = predictor.predict(point_coords=click, point_labels=[1])
        masks.append(found[int(np.argmax(predicted))])
    original = sum(value.nbytes for value in model.state_dict().values())
    exported = bundle.size_bytes(bundle.runtimes[0])
    titles = [f"PyTorch, {original / 1e6:.1f} MB", f"{bundle.name}, {exported / 1e6:.1f} MB"]
    prompt = make_prompt(click, [1], original_size=rgb.shape[:2])
    panels = draw_masks(rgb, prompt, masks, titles=titles, max_side=SIDE)

    report = compare([folder], measure=False)
    (judged,), (cost,) = report.bundles, report.tradeoffs
    compared = sum(len(case.masks) for case in judged.cases if case.stage == "end_to_end")
    verdict = (
        f"{judged.verdict}: mean mask IoU with PyTorch's {cost.mask_iou:.3f} ({compared} masks)"
    )
    sheet = Image.new("RGB", (panels.width, panels.height + STRIP), GROUND)
    sheet.paste(panels)
    font = ImageFont.load_default(21)
    place = (10, panels.height + STRIP / 2)
    ImageDraw.Draw(sheet).text(place, verdict, fill=TEXT, font=font, anchor="lm")
    return sheet


if __name__ == "__main__":
    draw(Path(sys.argv[1])).save(sys.argv[2], optimize=True)
