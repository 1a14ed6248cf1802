"""Bundles that take bytes, scale photos themselves or choose the mask, run by the page."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilesam.inference.predictor import Predictor
from mobilesam.runtimes.bundle import Bundle
from mobilesam.web.site import write_site
from tests.shared_bundles import exported
from tests.tiny_bundles import SIZE as SIDE
from tests.tiny_bundles import tiny_model
from tests.web.browsers import Visitor, page_folder, served

pytestmark = pytest.mark.slow

LEAST_IOU = 0.99
SIZE = (SIDE, 85)
"""Width and height of the photo: the frame's, so that a mask of the frame is the photo's."""

POINT = (60, 40)


def _bundle(name: str, target: str, **asked: Any) -> Bundle:
    return exported(tiny_model(), name, target, ["fp32"], **asked)["fp32"]


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = pytest.importorskip("skimage.data", reason="the test's photo is scikit-image's")
    path = tmp_path_factory.mktemp("photos") / "cup.png"
    Image.fromarray(data.coffee()).resize(SIZE).save(path)
    return path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page with a bundle of each kind, of two formats."""
    of_bytes: dict[str, Any] = {"input_variant": "uint8"}
    bundles = [
        _bundle("tiny-rgba-full", "tflite", **of_bytes, channel_order="rgba", masks="full"),
        _bundle("tiny-resize", "tflite", **of_bytes, photo_size=SIZE[::-1]),
        _bundle("tiny-bgr", "onnx", **of_bytes, channel_order="bgr"),
    ]
    out = tmp_path_factory.mktemp("kinds") / "site"
    write_site(bundles, page_folder(), out)
    return out


def agreements(browser: Any, site: Path, photo: Path) -> dict[str, float]:
    """IoU of each bundle's saved mask and PyTorch's, for a click."""
    predictor = Predictor(tiny_model())
    predictor.set_image(photo)
    found = {}
    with served(site) as address:
        visitor = Visitor(browser, address)
        visitor.choose(photo)
        point = visitor.click(*POINT, SIZE)
        wanted = predictor.predict([point], [1], multimask_output=True)
        torch = wanted[0][int(np.argmax(wanted[1]))]
        assert 0.002 < torch.mean() < 0.998, "a mask that says something"
        for button in visitor.page.locator("input[name=bundle]").all():
            button.check()
            visitor.settle()
            assert visitor.state == "ready", visitor.status
            mask = visitor.mask()
            found[button.input_value()] = (mask & torch).sum() / (mask | torch).sum()
        visitor.page.close()
    return found


def test_each_kind_draws_pytorch_s_mask(browser: Any, site: Path, photo: Path) -> None:
    found = agreements(browser, site, photo)
    assert len(found) == 3
    assert min(found.values()) >= LEAST_IOU, found


def test_another_channel_order_is_noticed(
    browser: Any, site: Path, photo: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "site"
    shutil.copytree(site, wrong)
    for path in wrong.glob("bundles/*/manifest.json"):
        manifest = json.loads(path.read_text("utf-8"))
        if manifest["channel_order"] != "rgba":
            swapped = {"rgb": "bgr", "bgr": "rgb"}[manifest["channel_order"]]
            path.write_text(json.dumps(manifest | {"channel_order": swapped}), "utf-8")
    assert sorted(agreements(browser, wrong, photo).values())[1] < LEAST_IOU


def test_photo_of_another_size_is_refused(
    browser: Any, site: Path, photo: Path, tmp_path: Path
) -> None:
    with Image.open(photo) as image:
        image.rotate(90, expand=True).save(tmp_path / "portrait.png")
    with served(site) as address:
        visitor = Visitor(browser, address)
        visitor.choose(tmp_path / "portrait.png")
        visitor.page.check("input[value='tflite-fp32-2']")
        said = visitor.settle()
        assert visitor.state == "error"
        assert f"takes photos of {SIZE[0]} x {SIZE[1]} pixels" in said
        visitor.page.check("input[value='tflite-fp32']")
        visitor.settle()
        visitor.click(*POINT[::-1], SIZE[::-1])
        visitor.page.click("#compare")
        assert visitor.settle().startswith("tflite-fp32-2: this encoder takes photos")
        shared = visitor.page.locator("#bundles tr td:last-child").all_inner_texts()
        assert shared[:2] == ["first", "–"] and float(shared[2]) >= LEAST_IOU
        visitor.page.close()
