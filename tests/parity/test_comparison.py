"""The suite from bundle to verdict, with the reference's own modules in place of a runtime."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mobilesam.bundle.manifest import MANIFEST_NAME
from mobilesam.bundle.prompt_types import Subject, everyday_prompts, remaining_prompts
from mobilesam.errors import BundleError, CheckpointError, InputError, ThresholdError
from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM
from parity import comparison, judging, origin
from parity.cost.measure import Costs
from parity.image_folder import folder_photos
from parity.report import Report
from parity.schema import BundleReport
from tests.parity.fakes import (
    ModuleRunner,
    changed,
    demo_model,
    without_audits,
    write_bundle,
    write_photos,
)


@pytest.fixture(scope="module")
def model() -> MobileSAM:
    return demo_model()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("parity") / "photos")


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[ModuleRunner]], None]]:
    """Sets what opens in place of a runtime; the reference is loaded once for all tests."""

    def load(weights: str, variant: str, image_size: int, **_: object) -> MobileSAM:
        assert variant == "vit_t"
        return demo_model(image_size) if weights == "demo" else load_model(weights)

    monkeypatch.setattr(origin, "load_model", load)
    without_audits(monkeypatch)

    def use(kind: type[ModuleRunner]) -> None:
        monkeypatch.setattr(
            judging, "open_runner", lambda bundle, runtime, **given: kind(bundle, **given)
        )

    use(ModuleRunner)
    yield use


def run(bundles: list[Path], photos: Path, **options: object) -> Report:
    settings = {"measure": False, "progress": False, "images": photos} | options
    return comparison.compare(bundles, **settings)  # type: ignore[arg-type]


SHOWN = {"shown_iou_mean", "shown_iou_p5", "shown_iou_type_mean", "shown_differs"}


def failed(report: BundleReport) -> set[tuple[str, str]]:
    return {(check.stage, check.metric) for check in report.checks if not check.passed}


def _expected_cases(slots: int) -> int:
    """Two photos' everyday prompts and two strips' at both stages, the rest of one of them."""
    subject, size = Subject.middle((60, 80)), (60, 80)
    everyday = [row for row in everyday_prompts(subject, size) if row.slots <= slots]
    return 2 * (2 * len(everyday) + 2 * 2) + len(remaining_prompts(subject, size, slots))


@pytest.mark.parametrize("input_variant", ["pixels", "normalized"])
def test_the_right_modules_pass(
    tmp_path: Path, model: MobileSAM, photos: Path, runner: object, input_variant: str
) -> None:
    bundle = write_bundle(tmp_path / "b", model, input_variant=input_variant)  # type: ignore[arg-type]
    report = run([bundle], photos)
    (own,) = report.bundles
    assert report.passed and own.verdict == "PASS", own.reasons
    assert own.reasons == [] and own.notes == []
    assert [metrics.image for metrics in own.encoder] == report.images and len(report.images) == 4
    assert len(own.cases) == _expected_cases(8)
    assert {case.prompt_type for case in own.cases} == set(report.prompt_types)
    assert all(len(case.masks) == 4 for case in own.cases)
    assert own.worst_picture is not None and own.worst_picture.startswith("data:image/")
    assert len(report.gallery) == 2
    assert own.weights == "demo" and report.weights["sha256"] == model.weights.sha256  # type: ignore[union-attr]
    again = Report.model_validate_json(report.model_dump_json())
    assert again.passed and len(again.bundles[0].cases) == len(own.cases)


@pytest.mark.parametrize("slots", [3, 4, 6])
def test_fewer_slots_skip_only_what_does_not_fit_and_say_so(
    tmp_path: Path, model: MobileSAM, photos: Path, runner: object, slots: int
) -> None:
    (own,) = run([write_bundle(tmp_path / "b", model, slots=slots)], photos).bundles
    assert own.verdict == "PASS", own.reasons
    assert bool(own.notes) == (slots < 6)
    assert len(own.cases) == _expected_cases(slots)
    if own.notes:
        assert f"needs 6 slots, this decoder has {slots}" in own.notes[0]


def _nan_at_one_place(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    masks = outputs["low_res_masks"].copy()
    masks[0, 2, 5, 5] = np.nan
    return outputs | {"low_res_masks": masks}


def _permuted(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return outputs | {"low_res_masks": outputs["low_res_masks"][:, [0, 2, 1, 3]]}


def _iou_off(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return outputs | {"iou_predictions": outputs["iou_predictions"] * 0.95}


def _constant(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.full_like(value, value.mean()) for name, value in outputs.items()}


DECODER_FAULTS = {
    "nan": (_nan_at_one_place, "finite"),
    "permuted": (_permuted, "logits_relative_l2"),
    "iou": (_iou_off, "iou_prediction"),
    "constant": (_constant, "not_constant"),
}


@pytest.mark.parametrize("name", DECODER_FAULTS)
def test_a_fault_of_the_decoder_fails_under_its_own_name(
    tmp_path: Path, model: MobileSAM, photos: Path, runner: Callable[..., None], name: str
) -> None:
    change, metric = DECODER_FAULTS[name]
    runner(changed("decoder", change))
    (own,) = run([write_bundle(tmp_path / "b", model)], photos).bundles
    assert own.verdict == "FAIL"
    assert {("decoder", metric), ("end_to_end", metric)} <= failed(own)
    assert not any(stage == "encoder" for stage, _ in failed(own))
    assert any(metric in reason for reason in own.reasons)
    if name == "iou":
        assert {metric for _, metric in failed(own)} <= {"iou_prediction", *SHOWN}


@pytest.mark.parametrize(
    ("change", "metric"),
    [(_constant, "not_constant"), (lambda o: {k: v * 1.001 for k, v in o.items()}, "relative_l2")],
    ids=["constant", "scaled"],
)
def test_a_fault_of_the_encoder_fails_there_and_leaves_the_decoder_alone(
    tmp_path: Path,
    model: MobileSAM,
    photos: Path,
    runner: Callable[..., None],
    change: Callable[..., dict[str, np.ndarray]],
    metric: str,
) -> None:
    runner(changed("encoder", change))
    (own,) = run([write_bundle(tmp_path / "b", model)], photos).bundles
    assert own.verdict == "FAIL"
    assert ("encoder", metric) in failed(own)
    assert not any(stage == "decoder" for stage, _ in failed(own))


def test_an_encoder_of_nans_fails_every_comparison(
    tmp_path: Path, model: MobileSAM, photos: Path, runner: Callable[..., None]
) -> None:
    runner(changed("encoder", lambda o: {k: np.full_like(v, np.nan) for k, v in o.items()}))
    report = run([write_bundle(tmp_path / "b", model)], photos)
    (own,) = report.bundles
    encoder = [check for check in own.checks if check.stage == "encoder"]
    assert encoder and not any(check.passed for check in encoder)
    assert ("end_to_end", "finite") in failed(own)
    assert not Report.model_validate_json(report.model_dump_json()).passed


class Raises(ModuleRunner):
    def run(self, *_: object) -> dict[str, np.ndarray]:
        raise RuntimeError("the delegate gave up")


def test_a_runner_that_raises_fails_with_its_sentence_and_the_rest_goes_on(
    tmp_path: Path,
    model: MobileSAM,
    photos: Path,
    runner: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def open_(bundle: object, runtime: str, **given: object) -> ModuleRunner:
        kind = Raises if bundle.path.name == "bad" else ModuleRunner  # type: ignore[attr-defined]
        return kind(bundle, **given)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "open_runner", open_)
    bundles = [write_bundle(tmp_path / name, model) for name in ("bad", "good")]
    report = run(bundles, photos)
    bad, good = report.bundles
    assert bad.verdict == "FAIL" and bad.reasons == ["could not be run: the delegate gave up"]
    assert good.verdict == "PASS"
    assert not report.passed


def test_an_altered_file_fails_by_its_digest_and_is_not_run(
    tmp_path: Path, model: MobileSAM, photos: Path, runner: Callable[..., None]
) -> None:
    runner(Raises)  # would say so if it were opened
    bundle = write_bundle(tmp_path / "b", model)
    (bundle / "decoder.pt").write_text("replaced after export")
    (own,) = run([bundle], photos).bundles
    assert own.verdict == "FAIL"
    assert failed(own) == {("integrity", "digest")}
    (reason,) = own.reasons
    assert "digest" in reason and "decoder.pt" in reason
    assert own.cases == []


def test_other_weights_than_the_reference_fail_by_name(
    tmp_path: Path, model: MobileSAM, photos: Path, runner: Callable[..., None]
) -> None:
    bundle = write_bundle(tmp_path / "b", model)
    path = bundle / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    manifest["weights"]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    (own,) = run([bundle], photos).bundles
    assert failed(own) == {("integrity", "weights_digest")}
    assert own.cases == []


@pytest.mark.slow
def test_the_gallery_is_drawn_when_it_is_asked_for(
    tmp_path: Path,
    model: MobileSAM,
    photos: Path,
    runner: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = write_bundle(tmp_path / "b", model)
    plain = run([bundle], photos)
    assert plain.gallery_photos == []
    asked = run([bundle], photos, gallery=True)
    assert asked.passed and len(asked.gallery_photos) >= 6
    assert len(asked.gallery) == 2, "the user's own photos are still drawn"
    monkeypatch.setattr(comparison, "default_photos", lambda: folder_photos(photos))
    built_in = run([bundle], photos, images=None, gallery=True)
    assert built_in.gallery == {}, "the gallery has them"


def test_bad_input_is_refused_before_any_work(
    tmp_path: Path, model: MobileSAM, photos: Path, runner: Callable[..., None]
) -> None:
    good = write_bundle(tmp_path / "good", model)
    with pytest.raises(BundleError, match="no bundle was given"):
        run([], photos)
    with pytest.raises(BundleError, match=r"is not a bundle|is not a folder"):
        run([good, tmp_path / "nowhere"], photos)
    with pytest.raises(InputError, match="not a folder of images"):
        run([good], tmp_path / "nowhere")
    with pytest.raises(ThresholdError, match="cannot be read"):
        run([good], photos, thresholds=tmp_path / "gone.toml")
    with pytest.raises(CheckpointError):
        run([good], photos, weights=tmp_path / "gone.pt")

    newer = write_bundle(tmp_path / "newer", model)
    manifest = json.loads((newer / MANIFEST_NAME).read_text())
    manifest["contract_version"] = "99.0"
    (newer / MANIFEST_NAME).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="99"):
        run([newer], photos)

    incomplete = write_bundle(tmp_path / "incomplete", model)
    (incomplete / "encoder.pt").unlink()
    with pytest.raises(BundleError, match="encoder.pt' is missing"):
        run([incomplete], photos)


def test_one_reference_serves_bundles_of_the_same_weights(
    tmp_path: Path,
    model: MobileSAM,
    photos: Path,
    runner: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = []

    def counted(*given: object) -> MobileSAM:
        loaded.append(given)
        return model

    monkeypatch.setattr(origin, "load_model", counted)
    bundles = [write_bundle(tmp_path / name, model) for name in ("one", "two")]
    report = run(bundles, photos)
    assert report.passed and len(report.bundles) == 2
    assert len(loaded) == 1


@pytest.mark.slow
def test_measuring_that_fails_is_the_bundles_fault_but_never_the_references(
    tmp_path: Path,
    model: MobileSAM,
    photos: Path,
    runner: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    killed = BundleError("it was killed by signal 9")

    def measured(reference: object, own: object) -> Callable[..., Costs]:
        return lambda *_, **__: Costs([reference, own], 1.5)  # type: ignore[list-item]

    bundle = write_bundle(tmp_path / "b", model)
    monkeypatch.setattr(comparison, "measure_in_turns", measured(killed, []))
    report = run([bundle], photos, measure=True)
    assert report.passed and report.reference == []
    assert "signal 9" in report.machine["PyTorch's latency"]
    assert "other programs kept 1.5" in report.warnings[-1]
    monkeypatch.setattr(comparison, "measure_in_turns", measured([], killed))
    (own,) = run([bundle], photos, measure=True).bundles
    assert own.verdict == "FAIL"
    assert own.reasons == ["could not be measured: it was killed by signal 9"]
