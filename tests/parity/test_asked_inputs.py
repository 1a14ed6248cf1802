"""Decoders and encoders that are wrong for one kind of input are caught, in a coarse scheme too."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError
from mobilesam.model.normalization import PIXEL_MEAN
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity.image_folder import folder_photos
from parity.judging import BundleRun, check_run, judge_runner
from parity.photos import stored_photos
from parity.references import PhotoReference, reference_answers
from parity.schema import BundleReport
from parity.thresholds import Thresholds
from tests.parity.fakes import Arrays_, ModuleRunner, demo_model, write_bundle, write_photos

SIDE = 128
Fault = Callable[[Arrays_], Arrays_]


def _without_slots(first: int) -> Fault:
    def fault(inputs: Arrays_) -> Arrays_:
        labels = inputs["point_labels"].copy()
        labels[:, first:] = -2
        return inputs | {"point_labels": labels}

    return fault


def _where(condition: Callable[[Arrays_], bool], fault: Fault) -> Fault:
    return lambda inputs: fault(inputs) if condition(inputs) else inputs


def _has(inputs: Arrays_, *labels: int) -> bool:
    return bool(np.isin(inputs["point_labels"], labels).any())


def _without_mask(inputs: Arrays_) -> Arrays_:
    return inputs | {"has_mask_input": np.zeros(1, np.float32)}


def _with_mask(inputs: Arrays_) -> Arrays_:
    return inputs | {"has_mask_input": np.ones(1, np.float32)}


def _all_foreground(inputs: Arrays_) -> Arrays_:
    labels = inputs["point_labels"]
    return inputs | {"point_labels": np.where(labels == 0, 1, labels).astype(np.float32)}


def _unused_as_background(inputs: Arrays_) -> Arrays_:
    labels = inputs["point_labels"]
    return inputs | {"point_labels": np.where(labels == -2, 0, labels).astype(np.float32)}


def _inner_half(inputs: Arrays_) -> Arrays_:
    return inputs | {"point_coords": np.clip(inputs["point_coords"], 0.15 * SIDE, 0.55 * SIDE)}


def _boxes_of_a_quarter_at_least(inputs: Arrays_) -> Arrays_:
    coords, labels = inputs["point_coords"].copy(), inputs["point_labels"]
    if _has(inputs, 3):
        first, last = coords[labels == 2], coords[labels == 3]
        coords[labels == 3] = np.maximum(last, first + SIDE / 4)
    return inputs | {"point_coords": coords}


def _one_background_point(inputs: Arrays_) -> Arrays_:
    labels = inputs["point_labels"].copy()
    labels[0, np.flatnonzero(labels[0] == 0)[1:]] = -2
    return inputs | {"point_labels": labels}


DECODER: dict[str, tuple[Fault, str]] = {
    "the last slot is ignored": (_without_slots(7), "every_slot"),
    "two slots are ignored": (_without_slots(6), "every_slot"),
    "the slots after four are ignored": (_without_slots(4), "every_slot"),
    "a mask is ignored beside a box": (
        _where(lambda inputs: _has(inputs, 2), _without_mask),
        "box_and_mask",
    ),
    "a mask is ignored where it is alone": (
        _where(lambda inputs: not _has(inputs, 0, 1, 2), _without_mask),
        "mask_only",
    ),
    "a mask is ignored beside background points": (
        _where(lambda inputs: _has(inputs, 0), _without_mask),
        "negative_points",
    ),
    "the flag of the mask is ignored": (_with_mask, "stale_inputs"),
    "background points alone are foreground": (
        _where(lambda inputs: not _has(inputs, 1, 2), _all_foreground),
        "negative_points",
    ),
    "one background point is read": (_one_background_point, "negative_points"),
    "unused slots are read": (_unused_as_background, "stale_inputs"),
    "small boxes are enlarged": (_boxes_of_a_quarter_at_least, "extreme_box"),
    "coordinates near the edge are moved inwards": (_inner_half, "border_point"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PhotoReference]]:
    """What PyTorch answers to every case of two photos and two strips of them."""
    folder = write_photos(tmp_path_factory.mktemp("asked") / "photos")
    with (
        stored_photos(folder_photos(folder), [SIDE], strips=True) as photos,
        ReferenceRunner(demo_model(SIDE)) as reference,
        reference_answers(reference, photos, slots=8) as made,
    ):
        yield made


Judged = Callable[[str, Component, Fault], BundleReport]


@pytest.fixture
def judged(tmp_path: Path, answers: list[PhotoReference]) -> Judged:
    """Judges a component that is given other inputs than it was asked, by a scheme's limits."""

    def judge(scheme: str, component: Component, fault: Fault) -> BundleReport:
        class Faulty(ModuleRunner):
            def run(self, of: Component, inputs: Arrays) -> Arrays_:
                given = {name: np.asarray(value) for name, value in inputs.items()}
                return super().run(of, fault(given) if of == component else given)

        bundle = Bundle(write_bundle(tmp_path / "b", demo_model(SIDE)))
        row = Thresholds().row("coreml", scheme)
        report = check_run(BundleRun(bundle, "torchscript", row), demo_model(SIDE))
        with Faulty(bundle) as runner:
            judge_runner(report, runner, answers, row)
        return report

    return judge


@pytest.mark.parametrize("scheme", ["fp32", "p4"])
def test_a_decoder_that_reads_everything_passes(judged: Judged, scheme: str) -> None:
    report = judged(scheme, "decoder", lambda inputs: inputs)
    assert report.verdict == "PASS", report.reasons


# These move the demo weights' masks by less than four bits do, or not where they should be told.
# Of a real file they are told by its own weights: by the limits of fp32 (parity/own_weights.py).
BELOW_FOUR_BITS = {
    "one background point is read",
    "a mask is ignored where it is alone",
    "a mask is ignored beside background points",
}


@pytest.mark.parametrize(
    ("name", "scheme"),
    [(n, s) for n in DECODER for s in ("fp32", "p4") if s == "fp32" or n not in BELOW_FOUR_BITS],
)
def test_a_decoder_that_does_not_read_one_kind_of_input_fails(
    judged: Judged, name: str, scheme: str
) -> None:
    fault, kind = DECODER[name]
    report = judged(scheme, "decoder", fault)
    assert report.verdict == "FAIL", name
    assert any(kind in reason or _names(report, kind, reason) for reason in report.reasons), (
        report.reasons
    )


def _names(report: BundleReport, kind: str, reason: str) -> bool:
    """Whether a reason is about a case of that kind."""
    own = {f"{case.image}, {case.prompt}" for case in report.cases if case.prompt_type == kind}
    return any(where in reason for where in own)


def _at_least_a_quarter(axis: int) -> Fault:
    def fault(inputs: Arrays_) -> Arrays_:
        valid = inputs["valid_size"].copy()
        valid[axis] = max(valid[axis], SIDE / 4)
        return inputs | {"valid_size": valid}

    return fault


@pytest.mark.parametrize(("axis", "strip"), [(0, "wide strip"), (1, "tall strip")])
def test_an_encoder_that_is_wrong_for_strips_fails(judged: Judged, axis: int, strip: str) -> None:
    report = judged("fp32", "encoder", _at_least_a_quarter(axis))
    assert report.verdict == "FAIL"
    wrong = [check for check in report.checks if not check.passed]
    assert all(strip in check.where for check in wrong if check.stage == "encoder")


def _black_is_padding(inputs: Arrays_) -> Arrays_:
    """Zeros beside the photo, as long as it is black there, and whatever else lies there."""
    image, (height, width) = inputs["image"].copy(), inputs["valid_size"].astype(int)
    outside = np.ones((SIDE, SIDE), np.bool_)
    outside[:height, :width] = False
    image[:, :, outside] += np.array(PIXEL_MEAN, np.float32)[:, None]
    return inputs | {"image": image, "valid_size": np.full(2, SIDE, np.float32)}


def test_an_encoder_that_trusts_the_padding_to_be_black_fails(judged: Judged) -> None:
    report = judged("fp32", "encoder", _black_is_padding)
    assert report.verdict == "FAIL"
    assert any(reason.startswith("encoder relative_l2") for reason in report.reasons)


@pytest.mark.parametrize(
    ("component", "name"), [("encoder", "image"), ("encoder", "valid_size")]
    + [("decoder", name) for name in ("image_embeddings", "point_labels", "mask_input")],
)  # fmt: skip
def test_a_file_that_writes_into_its_inputs_fails(
    tmp_path: Path, answers: list[PhotoReference], component: Component, name: str
) -> None:
    class Writing(ModuleRunner):
        def run(self, of: Component, inputs: Arrays) -> Arrays_:
            outputs = super().run(of, inputs)
            if of == component:
                inputs[name].flat[0] += 1
            return outputs

    bundle = Bundle(write_bundle(tmp_path / "b", demo_model(SIDE)))
    row = Thresholds().row("torchscript", "fp32")
    report = check_run(BundleRun(bundle, "torchscript", row), demo_model(SIDE))
    with Writing(bundle) as runner, pytest.raises(BundleError, match=f"its input '{name}'"):
        judge_runner(report, runner, answers, row)


def test_a_decoder_that_multiplies_what_is_not_read_by_zero_fails(
    tmp_path: Path, answers: list[PhotoReference]
) -> None:
    class Multiplying(ModuleRunner):
        def load(self) -> None:
            super().load()
            decoder: Any = self._modules["decoder"]
            decoder.keep = lambda values, wanted: values * wanted.unsqueeze(-1)

    bundle = Bundle(write_bundle(tmp_path / "b", demo_model(SIDE)))
    row = Thresholds().row("torchscript", "fp32")
    report = check_run(BundleRun(bundle, "torchscript", row), demo_model(SIDE))
    with Multiplying(bundle) as runner:
        judge_runner(report, runner, answers, row)
    not_finite = {case.prompt for case in report.cases if not case.finite}
    assert not_finite == {"one point, unread inputs infinite"}
    assert any(reason.startswith("decoder finite") for reason in report.reasons)
