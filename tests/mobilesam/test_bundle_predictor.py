"""A bundle's predictor does what the PyTorch predictor does, with the exported files."""

import inspect
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mobilesam import Bundle, Predictor
from mobilesam.errors import BundleError, ImageNotSetError, InputError, PromptError
from mobilesam.runtimes.bundle import BundlePredictor
from tests.tiny_bundles import tiny_model

CLICK = ([[30.0, 40.0]], [1])
PROMPTS: dict[str, dict[str, Any]] = {
    "click": {"point_coords": [[30.0, 40.0]], "point_labels": [1]},
    "points": {"point_coords": [[30.0, 40.0], [9.0, 8.0]], "point_labels": [1, 0]},
    "box": {"box": [5, 6, 50, 80]},
    "box and point": {"point_coords": [[30.0, 40.0]], "point_labels": [1], "box": [5, 6, 50, 80]},
    "mask": {"mask_input": np.linspace(-9, 9, 32 * 32, dtype=np.float32).reshape(1, 32, 32)},
}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8)


@pytest.fixture
def bundle(tiny_bundle: Callable[..., Bundle]) -> Bundle:
    return tiny_bundle("torchscript")


@pytest.fixture
def exported(bundle: Bundle, photo: np.ndarray) -> Iterator[BundlePredictor]:
    with bundle.predictor() as predictor:
        predictor.set_image(photo)
        yield predictor


@pytest.fixture
def pytorch(photo: np.ndarray) -> Predictor:
    predictor = Predictor(tiny_model())
    predictor.set_image(photo)
    return predictor


def close(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("multimask", [True, False])
def test_results_are_pytorchs(
    exported: BundlePredictor, pytorch: Predictor, prompt: str, multimask: bool
) -> None:
    asked: dict[str, Any] = {**PROMPTS[prompt], "multimask_output": multimask}
    masks, iou, low_res = exported.predict(**asked)
    theirs, their_iou, their_low_res = pytorch.predict(**asked)
    assert masks.shape == theirs.shape and masks.dtype == np.bool_
    assert (masks == theirs).mean() > 0.999
    close(iou, their_iou)
    close(low_res, their_low_res)


def test_methods_are_pytorchs() -> None:
    for name, member in inspect.getmembers(Predictor):
        if not name.startswith("_"):
            ours = getattr(BundlePredictor, name)
            if callable(member):
                assert inspect.signature(ours) == inspect.signature(member), name


def test_a_batch_is_answered_one_by_one(exported: BundlePredictor, pytorch: Predictor) -> None:
    coords = torch.tensor([[[30.0, 40], [10, 10]], [[5, 80], [50, 20]]])
    labels = torch.tensor([[1.0, 0], [1, 1]])
    boxes = torch.tensor([[0.0, 0, 40, 50], [10, 20, 60, 90]])
    masks = torch.linspace(-5, 5, 2 * 32 * 32).reshape(2, 1, 32, 32)
    for asked in ((coords, labels), (coords, labels, boxes), (None, None, boxes, masks)):
        answers = zip(exported.predict_torch(*asked), pytorch.predict_torch(*asked), strict=True)
        (masks_found, masks_expected), *others = answers
        assert masks_found.shape == masks_expected.shape and masks_found.dtype == torch.bool
        for found, expected in others:
            close(found.numpy(), expected.numpy())


def test_what_does_not_fit_is_refused_before_anything_runs(
    exported: BundlePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(exported._runner), "execute", None)
    with pytest.raises(PromptError, match="9 point.* need 10 slots but this decoder has 8"):
        exported.predict([[1, 1]] * 9, [1] * 9)
    with pytest.raises(PromptError, match="7 point.* and a box need 9 slots"):
        exported.predict([[1, 1]] * 7, [1] * 7, box=[1, 1, 9, 9])
    with pytest.raises(PromptError, match=r"mask_input must be .*\[1, 32, 32\]"):
        exported.predict(mask_input=np.zeros((1, 64, 64), np.float32))
    with pytest.raises(PromptError, match="mask_input must be Bx1x32x32, not 1x1x64x64"):
        exported.predict_torch(None, None, mask_input=torch.zeros(1, 1, 64, 64))
    with pytest.raises(PromptError, match="need 10 slots"):
        exported.predict_torch(torch.ones(2, 9, 2), torch.ones(2, 9))


def test_embeddings_travel_between_predictors(
    exported: BundlePredictor, pytorch: Predictor, tmp_path: Path
) -> None:
    close(exported.embedding.numpy(), pytorch.embedding.numpy())
    assert exported.frame == pytorch.frame
    exported.set_embedding(pytorch.embedding, pytorch.frame)
    _, iou, _ = exported.predict(*CLICK)
    exported.save_embedding(tmp_path / "photo.safetensors")
    exported.reset_image()
    assert not exported.is_image_set
    with pytest.raises(ImageNotSetError, match="call set_image first"):
        exported.predict(*CLICK)
    exported.load_embedding(tmp_path / "photo.safetensors")
    assert np.array_equal(exported.predict(*CLICK)[1], iou)
    with pytest.raises(InputError, match="other weights"):  # the tiny model states none
        pytorch.load_embedding(tmp_path / "photo.safetensors")
    with pytest.raises(InputError, match="1x32x8x8, not 1x32x9x9"):
        exported.set_embedding(torch.zeros(1, 32, 9, 9), exported.frame)


def test_a_closed_predictor_says_so(bundle: Bundle, photo: np.ndarray) -> None:
    predictor = bundle.predictor("lite_interpreter", threads=1)
    assert predictor.engine.startswith("torchscript-fp32 on lite interpreter")
    predictor.set_image(photo)
    embedding, frame = predictor.embedding, predictor.frame
    predictor.close()
    assert not predictor.is_image_set
    with pytest.raises(InputError, match="was closed: get another with Bundle.predictor"):
        predictor.set_image(photo)
    predictor.set_embedding(embedding, frame)
    with pytest.raises(InputError, match="was closed"):
        predictor.predict(*CLICK)


def test_files_are_verified(bundle: Bundle, tmp_path: Path) -> None:
    altered = Bundle(shutil.copytree(bundle.path, tmp_path / "altered"))
    with altered.file("decoder", "torchscript").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match="is not the file that was exported"):
        altered.predictor()
    with pytest.raises(InputError, match="unknown runtime 'phone'"):
        bundle.predictor("phone")
    with pytest.raises(BundleError, match="no files for 'litert', only for torchscript"):
        bundle.predictor("litert")


def test_an_image_is_encoded_without_torch(tiny_bundle: Callable[..., Bundle]) -> None:
    """Torch is needed from the first mask on, which it enlarges."""
    code = (
        "import sys, numpy as np; from mobilesam import Bundle\n"
        f"with Bundle({str(tiny_bundle('tflite').path)!r}).predictor() as predictor:\n"
        "    predictor.set_image(np.zeros((9, 9, 3), np.uint8))\n"
        "    print('torch' in sys.modules)\n"
        "    masks, _, _ = predictor.predict([[4, 4]], [1])\n"
        "    print(masks.shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["False", "(3, 9, 9)"]
