"""``--masks full``: the decoder gives the mask that SAM shows, and one that draws another fails."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from converters import export
from converters.coreml.options import CoreMLOptions
from converters.executorch.options import ExecuTorchOptions
from converters.modules import FullMaskDecoderModule, build_module
from converters.onnx.options import ONNXOptions
from converters.schemes import COREML, EXECUTORCH, ONNX, TARGETS
from mobilesam.bundle.contract import MASK_VALUE, Contract, pack_prompt
from mobilesam.bundle.prompt_types import Subject, everyday_prompts
from mobilesam.errors import InputError
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.runtimes.bundle import Bundle
from parity import comparison
from parity.bundles import require_own_interface
from parity.schema import BundleReport
from tests.parity.fakes import (
    judged,
    run_modules,
    write_photos,
)
from tests.parity.replay_folders import loadable
from tests.shared_bundles import exported, in_this_process
from tests.tiny_bundles import SIZE, assert_refused, tiny_model

GIVING = [target for target in TARGETS if target != COREML]


def full_bundle(target: str) -> Bundle:
    """The tiny model's in fp32; to be read only."""
    return exported(tiny_model(), "tiny-full", target, ["fp32"], masks="full")["fp32"]


def failed(report: BundleReport) -> set[tuple[str, str]]:
    return {(check.stage, check.metric) for check in report.checks if not check.passed}


def test_the_module_shows_what_an_app_would_choose_scale_and_threshold() -> None:
    model, size = tiny_model(), (90, 128)
    contract, plain = Contract.of(model, masks="full"), Contract.of(model)
    full, four = (build_module(model, "decoder", each) for each in (contract, plain))
    embedding = torch.randn(1, 32, 8, 8, generator=torch.Generator().manual_seed(0))
    frame = Frame(size, SIZE)
    chosen = set()
    for row in everyday_prompts(Subject.middle(size), size):
        earlier = np.ones((32, 32), np.float32) if row.refines else None
        prompt = make_prompt(
            row.points or None,
            row.labels or None,
            row.box,
            earlier,
            original_size=size,
            low_res_size=32,
        )
        packed = pack_prompt(prompt, frame, contract)
        given = [embedding, *(torch.from_numpy(array) for array in packed.values())]
        mask, iou, low_res = full(*given)
        logits, ious = four(*given)
        shown = choose_mask(prompt, ious[0].numpy())
        chosen.add(shown)
        wanted = F.interpolate(logits[:, shown : shown + 1], (SIZE, SIZE), mode="bilinear")
        assert mask.dtype == torch.uint8
        assert torch.equal(mask, (wanted > 0).to(torch.uint8) * MASK_VALUE), row
        assert torch.equal(low_res, logits[:, shown : shown + 1])
        assert torch.equal(iou[0], ious[0, shown : shown + 1])
    assert 0 in chosen and len(chosen) > 1


@pytest.mark.parametrize("iou", [[9, 1, 1, 1], [0, 1, 3, 3], [0, 2, 1, 2], [0, 1, 2, 3]])
def test_the_first_of_the_best_three_is_taken(iou: list[float]) -> None:
    module = build_module(tiny_model(), "decoder", Contract.of(tiny_model(), masks="full"))
    assert isinstance(module, FullMaskDecoderModule)
    lone = torch.tensor([[1.0, -1, -2, -2]])
    taken = module._taken(torch.tensor([iou]), lone, torch.zeros(1))
    assert taken[0].tolist().index(1) == 1 + int(np.argmax(iou[1:])) and taken.sum() == 1
    for labels, has_mask in ([1, 1, -2, -2], 0), ([2, 3, -2, -2], 0), ([1, -1, -2, -2], 1):
        given = torch.tensor([iou]), torch.tensor([labels]).float(), torch.tensor([float(has_mask)])
        assert module._taken(*given).tolist() == [[1, 0, 0, 0]]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("full") / "photos")


Judge = Callable[[], BundleReport]


@pytest.fixture
def judge(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Judge:
    """Judges the modules of the demo weights as if they had been read from a bundle's files."""
    run_modules(monkeypatch)

    return partial(judged, tmp_path / "b", photos, masks="full")


def test_the_right_module_passes(judge: Judge) -> None:
    own = judge()
    assert own.verdict == "PASS", own.reasons
    assert ("end_to_end", "mask_disagreement") in {(c.stage, c.metric) for c in own.checks}
    assert all(len(case.masks) == 1 for case in own.cases)
    assert own.worst_picture is not None


Answer = tuple[Tensor, ...]


def _masks_of(full: Tensor) -> Tensor:
    return ((full > 0).float() * MASK_VALUE).to(torch.uint8)


def _scaled(answer: Answer, **how: Any) -> Answer:
    full = F.interpolate(answer[2], answer[0].shape[2:], **how)
    return _masks_of(full), *answer[1:]


def _thresholded_first(answer: Answer) -> Answer:
    mask = _masks_of(answer[2]).float()
    full = F.interpolate(mask, answer[0].shape[2:], mode="bilinear", align_corners=False)
    return _masks_of(full - MASK_VALUE / 2), *answer[1:]


DRAWN: dict[str, Callable[[Answer], Answer]] = {
    "ones for a mask": lambda a: (a[0] // MASK_VALUE, *a[1:]),
    "the background": lambda a: (MASK_VALUE - a[0], *a[1:]),
    "a soft edge": lambda a: (a[0] // 2 + a[0].roll(1, 3) // 2, *a[1:]),
    "one pixel further down": lambda a: (a[0].roll(1, 2), *a[1:]),
    "corners aligned": lambda a: _scaled(a, mode="bilinear", align_corners=True),
    "nearest": lambda a: _scaled(a, mode="nearest"),
    "thresholded before it is scaled": _thresholded_first,
}
"""What is drawn wrongly of the right logits."""


@pytest.mark.parametrize("name", DRAWN)
def test_a_mask_that_is_not_that_of_its_logits_fails(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    right = FullMaskDecoderModule.forward
    monkeypatch.setattr(
        FullMaskDecoderModule, "forward", lambda self, *given: DRAWN[name](right(self, *given))
    )
    own = judge()
    assert own.verdict == "FAIL" and ("decoder", "mask_disagreement") in failed(own), own.reasons


CHOSEN: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "always the single mask": lambda iou, labels, mask: F.one_hot(torch.tensor([0]), 4).float(),
    "always the best of three": lambda iou, labels, mask: F.one_hot(
        1 + iou[:, 1:].argmax(1), 4
    ).float(),
}


@pytest.mark.parametrize("name", CHOSEN)
def test_another_choice_fails(judge: Judge, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(FullMaskDecoderModule, "_taken", lambda self, *given: CHOSEN[name](*given))
    own = judge()
    assert own.verdict == "FAIL", own.reasons
    assert {"shown_iou_mean", "shown_differs", "shown_iou_type_mean"} & {m for _, m in failed(own)}


@pytest.mark.slow
@pytest.mark.parametrize("target", GIVING)
def test_every_target_passes_parity(
    target: str, monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    bundle = full_bundle(target)
    mask = bundle.manifest.signatures["decoder"].outputs[0]
    assert (mask.name, mask.dtype, mask.shape) == ("masks", "uint8", (1, 1, SIZE, SIZE))
    loadable(monkeypatch, bundle)
    (own,) = comparison.compare(
        [bundle.path], runtimes=[bundle.runtimes[0]], images=photos, measure=False, progress=False
    ).bundles
    assert own.verdict == "PASS", own.reasons
    with pytest.raises(InputError, match="without --masks full"):
        require_own_interface(bundle, "it has no four masks")


REFUSED: list[tuple[str, Any, str]] = [
    (COREML, CoreMLOptions(), "Core ML gives no uint8 before iOS 26"),
    (EXECUTORCH, ExecuTorchOptions(backend="coreml"), "Core ML gives no uint8 before iOS 26"),
    (ONNX, ONNXOptions(interface="sam"), "interface 'sam' has masks of its own"),
]


@pytest.mark.parametrize(("target", "options", "sentence"), REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, target: str, options: Any, sentence: str
) -> None:
    asked: dict[str, Any] = {"options": {target: options}, "masks": "full"}
    assert_refused(target, sentence, tmp_path / "out", **asked)


def test_targets_that_are_not_exported_refuse_nothing(tmp_path: Path) -> None:
    beside = {target: options for target, options, _ in REFUSED}
    with in_this_process():
        (made,) = export(
            tiny_model(),
            targets="torchscript",
            schemes="fp32",
            out=tmp_path,
            masks="full",
            options=beside,
            progress=False,
        )
    assert Bundle(made.path).manifest.masks == "full"
