"""The page in a browser: the masks it saves are PyTorch's, for any prompt and photo."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from mobilesam.everything import MaskGenerator, rle
from mobilesam.inference.predictor import Predictor, choose_mask
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import upscale_logits
from mobilesam.web.site import write_site
from tests.shared_bundles import demo_bundle, demo_model
from tests.web.browsers import Visitor, page_folder, served

pytestmark = pytest.mark.slow

LEAST_IOU = 0.99
SIZE = (600, 400)
"""Width and height of scikit-image's photo of a cup."""

CUP, TABLE, BOX = (290, 150), (60, 60), (170, 15, 412, 310)


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = pytest.importorskip("skimage.data", reason="the test's photo is scikit-image's")
    path = tmp_path_factory.mktemp("photos") / "cup.png"
    Image.fromarray(data.coffee()).save(path)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with a TFLite and an ONNX bundle."""
    bundles = [demo_bundle("tflite", "fp32"), demo_bundle("onnx", "fp32")]
    out = tmp_path_factory.mktemp("web") / "site"
    write_site(bundles, page_folder(), out)
    return out


@pytest.fixture(scope="module")
def visitor(browser: Any, site: Path) -> Iterator[Visitor]:
    with served(site) as address:
        yield Visitor(browser, address)


class PyTorch:
    """What PyTorch answers to prompts about one photo."""

    def __init__(self, photo: Path) -> None:
        self.predictor = Predictor(demo_model())
        self.predictor.set_image(photo)
        self.logits: np.ndarray | None = None

    def mask(
        self, *points: list[float], labels: Any = None, box: Any = None, refines: bool = False
    ) -> np.ndarray:
        """The mask that is shown, bool HxW; its logits are kept for a prompt that refines it."""
        prompt = make_prompt(
            points or None,
            (labels or [1] * len(points)) or None,
            box,
            self.logits if refines else None,
            original_size=self.predictor.frame.original_size,
            low_res_size=self.predictor.low_res_size,
        )
        low_res, iou = self.predictor.decode(prompt)
        chosen = choose_mask(prompt, iou[0].numpy())
        self.logits = low_res[0, chosen].numpy()
        return (upscale_logits(low_res, self.predictor.frame)[0, chosen] > 0).numpy()


def iou(one: np.ndarray, other: np.ndarray) -> float:
    assert one.shape == other.shape
    assert 0.002 < other.mean() < 0.9, "a mask that says something"
    return overlap(one, other)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


@pytest.fixture
def fresh(visitor: Visitor, photo: Path) -> Visitor:
    """The photo shown, without a prompt, the first bundle chosen."""
    visitor.page.check("input[value='tflite-fp32']")
    visitor.page.check("input[value=foreground]", force=True)
    visitor.page.set_checked("#refine", False)
    visitor.choose(photo)
    return visitor


def test_click_box_and_background(fresh: Visitor, photo: Path) -> None:
    torch = PyTorch(photo)
    point = fresh.click(*CUP, SIZE)
    assert iou(fresh.mask(), torch.mask(point)) >= LEAST_IOU
    other = fresh.click(*TABLE, SIZE, button="right")
    assert iou(fresh.mask(), torch.mask(point, other, labels=[1, 0])) >= LEAST_IOU
    fresh.page.click("#clear")
    assert fresh.settle() == "Click on an object."
    box = fresh.drag(BOX, SIZE)
    assert iou(fresh.mask(), torch.mask(box=box)) >= LEAST_IOU
    point = fresh.click(*CUP, SIZE)
    assert iou(fresh.mask(), torch.mask(point, box=box)) >= LEAST_IOU


def test_refinement_and_undo(fresh: Visitor, photo: Path) -> None:
    torch = PyTorch(photo)
    fresh.page.check("#refine")
    first = fresh.click(*CUP, SIZE)
    torch.mask(first)
    second = fresh.click(350, 60, SIZE)
    refined = fresh.mask()
    assert iou(refined, torch.mask(first, second, refines=True)) >= LEAST_IOU
    fresh.page.click("#undo")
    fresh.settle()
    assert iou(fresh.mask(), torch.mask(first)) >= LEAST_IOU
    fresh.page.uncheck("#refine")
    fresh.click(350, 60, SIZE)
    assert (fresh.mask() != refined).any(), "the earlier mask made no difference"


def test_bundles_are_compared(fresh: Visitor, photo: Path) -> None:
    torch = PyTorch(photo)
    point = fresh.click(*CUP, SIZE)
    fresh.page.check("input[value='onnx-fp32']")
    fresh.settle()
    assert "ONNX Runtime Web" in fresh.page.inner_text("#engine")
    assert iou(fresh.mask(), torch.mask(point)) >= LEAST_IOU
    row = fresh.page.locator("#bundles tr", has_text="onnx-fp32")
    assert float(row.locator("td").last.inner_text()) >= LEAST_IOU
    fresh.page.check("input[value='tflite-fp32']")
    fresh.settle()
    fresh.page.click("#compare")
    fresh.settle()
    assert float(row.locator("td").last.inner_text()) >= LEAST_IOU


def test_everything(fresh: Visitor, photo: Path) -> None:
    page = fresh.page
    page.select_option("#points", "8")
    page.keyboard.press("e")
    assert "64 points asked" in fresh.settle()
    limits: dict[str, Any] = {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.5}
    for slider, limit in zip(("#pred-iou", "#stability"), limits.values(), strict=True):
        page.fill(slider, str(limit))
    found = json.loads(fresh.saved("#save-json"))
    assert found["parameters"].items() >= (limits | {"points_per_side": 8}).items()
    masks = [rle.mask_of(record["segmentation"]) for record in found["masks"]]
    wanted = [
        record["segmentation"]
        for record in MaskGenerator(demo_model(), points_per_side=8, **limits).generate(photo)
    ]
    assert len(wanted) > 5
    for some, others in ((masks, wanted), (wanted, masks)):
        best = [max(overlap(one, other) for other in others) for one in some]
        assert np.mean(np.array(best) >= LEAST_IOU) >= 0.9, best  # a mask may be at a limit
    with Image.open(io.BytesIO(fresh.saved("#save-picture"))) as picture, Image.open(photo) as own:
        assert picture.size == own.size
        changed = np.any(np.asarray(picture.convert("RGB")) != np.asarray(own.convert("RGB")), 2)
    assert (changed == np.any(masks, axis=0)).mean() > 0.99
    page.keyboard.press("c")
    assert fresh.settle() == "Click on an object."
    assert not page.locator("#found").is_visible()


def test_everything_can_be_stopped(fresh: Visitor, photo: Path) -> None:
    page = fresh.page
    page.select_option("#points", "32")
    page.click("#everything")
    page.wait_for_selector("#stop:visible")
    page.keyboard.press("e")
    assert "Stopped after" in fresh.settle() and fresh.state == "ready"
    page.click("#everything")
    page.wait_for_selector("#stop:visible")
    point = fresh.click(*CUP, SIZE)
    assert iou(fresh.mask(), PyTorch(photo).mask(point)) >= LEAST_IOU
    assert not page.locator("#found").is_visible()


def test_keyboard_only(fresh: Visitor, photo: Path) -> None:
    torch = PyTorch(photo)
    page = fresh.page
    page.click("header h1")
    for _ in range(20):
        if page.locator("#canvas:focus").count():
            break
        page.keyboard.press("Tab")
    assert page.locator("#canvas:focus-visible").count() == 1
    shown = fresh.canvas.bounding_box()
    assert shown is not None
    step = 4 * SIZE[0] / shown["width"]
    page.keyboard.press("ArrowLeft")
    for _ in range(3):
        page.keyboard.press("ArrowUp")
    point = [SIZE[0] / 2 - step, SIZE[1] / 2 - 3 * step]
    page.keyboard.press("Enter")
    fresh.settle()
    assert iou(fresh.mask(), torch.mask(point)) >= LEAST_IOU
    fresh.canvas.focus()
    page.keyboard.press("Shift+ArrowLeft")
    away = [point[0] - 10 * step, point[1]]
    page.keyboard.press("b")
    fresh.settle()
    assert iou(fresh.mask(), torch.mask(point, away, labels=[1, 0])) >= LEAST_IOU
    page.keyboard.press("c")
    assert fresh.settle() == "Click on an object."
    fresh.canvas.focus()
    page.keyboard.press("x")
    for _ in range(6):
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("x")
    fresh.settle()
    box = [*away, min(away[0] + 60 * step, SIZE[0]), min(away[1] + 60 * step, SIZE[1])]
    assert iou(fresh.mask(), torch.mask(box=box)) >= LEAST_IOU
    page.keyboard.press("Control+z")
    assert fresh.settle() == "Click on an object."


def test_portrait_photo_with_exif_orientation(
    visitor: Visitor, photo: Path, tmp_path: Path
) -> None:
    """Stored lying down, to be shown upright: both the pixels and the clicks are."""
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(photo) as image:
        upright = image.convert("RGB").rotate(90, expand=True)
        stored = upright.rotate(90, expand=True)
    stored.save(tmp_path / "portrait.jpg", quality=95, exif=exif)
    visitor.choose(tmp_path / "portrait.jpg")
    torch = PyTorch(tmp_path / "portrait.jpg")
    assert torch.predictor.frame.original_size == (600, 400)
    point = visitor.click(150, 310, (400, 600))
    assert iou(visitor.mask(), torch.mask(point)) >= LEAST_IOU


def test_photo_of_twelve_megapixels(visitor: Visitor, photo: Path, tmp_path: Path) -> None:
    size = (4032, 3024)
    with Image.open(photo) as image:
        image.convert("RGB").resize(size).save(tmp_path / "large.jpg", quality=92)
    visitor.choose(tmp_path / "large.jpg")
    torch = PyTorch(tmp_path / "large.jpg")
    point = visitor.click(1950, 1130, size)
    assert iou(visitor.mask(), torch.mask(point)) >= LEAST_IOU


def test_what_is_no_photo_is_said(fresh: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("no photo")
    fresh.page.set_input_files("#file", path)
    assert "cannot read the file as a photo" in fresh.settle()
    assert fresh.state == "error"
    fresh.click(*CUP, SIZE)
    assert fresh.state == "ready", "the earlier photo is still there"


def test_nothing_is_asked_of_others(visitor: Visitor) -> None:
    own = urlsplit(visitor.page.url).netloc
    hosts = {urlsplit(url).netloc for url in visitor.requested if not url.startswith("blob:")}
    assert hosts == {own}


def test_altered_file_is_refused(browser: Any, site: Path, tmp_path: Path) -> None:
    altered = tmp_path / "site"
    shutil.copytree(site, altered)
    entry = json.loads((altered / "bundles.json").read_text("utf-8"))["bundles"][0]
    file = altered / entry["folder"] / "decoder.tflite"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with served(altered) as address:
        visitor = Visitor(browser, address)
        assert visitor.state == "error"
        assert "not the file that was exported" in visitor.status


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "bundles.json cannot be had (HTTP status 404)"),
        ("<!doctype html>", "bundles.json is not JSON"),
    ],
)
def test_a_folder_without_bundles_is_said(
    browser: Any, tmp_path: Path, text: str | None, sentence: str
) -> None:
    page = tmp_path / "page"
    shutil.copytree(page_folder(), page)
    if text is not None:  # as hosts answer that send index.html for whatever is missing
        (page / "bundles.json").write_text(text)
    with served(page) as address:
        visitor = Visitor(browser, address)
        assert visitor.state == "error"
        assert sentence in visitor.status
