"""Calibration samples: real photos, prompts of several types, and a record of what was used."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from converters import export
from converters.calibration import (
    Calibration,
    Inputs,
    calibration_photos,
    calibration_record,
    prompts_of,
)
from converters.provenance import export_key
from converters.schemes import TARGETS
from converters.spec import CalibrationOptions
from mobilesam.bundle.contract import Contract, pack_prompt
from mobilesam.bundle.prompt_types import (
    PROMPT_TYPES,
    Share,
    Subject,
    everyday_prompts,
    remaining_prompts,
)
from mobilesam.data.sample_photos import PHOTOS
from mobilesam.errors import InputError
from mobilesam.inference.predictor import Predictor
from mobilesam.model.sam import MobileSAM
from parity.cases import everyday_cases, further_cases
from tests.specs import make_spec


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A wide photo and a tall one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, size in (("wide.png", (40, 90, 3)), ("tall.png", (90, 40, 3))):
        Image.fromarray(random.integers(0, 256, size, np.uint8)).save(folder / name)
    return folder


def test_the_built_in_photos_are_those_that_bundles_are_not_judged_on() -> None:
    pytest.importorskip("skimage")
    names = [photo.name for photo in calibration_photos(None)]
    assert names == [photo.file for photo in PHOTOS if not photo.judged]
    assert len(names) >= 4


@pytest.mark.parametrize("variant", ["pixels", "normalized"])
def test_encoder_samples_are_photos_prepared_as_the_contract_says(
    photos: Path, variant: str, tiny_model: MobileSAM
) -> None:
    contract = Contract.of(tiny_model, input_variant=variant)  # type: ignore[arg-type]
    samples = list(Calibration(tiny_model, contract, photos).samples("encoder"))
    assert len(samples) == 2 + 2 * 2 + 2
    for sample in samples:
        assert {n: v.shape for n, v in sample.items()} == {
            spec.name: spec.shape for spec in contract.signature("encoder").inputs
        }
    tall = samples[0]["image"]  # by name: tall.png comes first
    assert not tall[..., 57:].any() and tall[..., :57].all(axis=1).mean() > 0.9
    if variant == "pixels":
        assert samples[0]["valid_size"].tolist() == [128, 57]
        assert tall.max() > 200 and tall.min() == 0
        # A wide and a tall strip of each, whose frames are nearly all padding; black and white.
        assert [s["valid_size"].argmin() for s in samples[2:6]] == [0, 1, 0, 1]
        assert all(s["valid_size"].min() < 12 for s in samples[2:6])
        assert [s["valid_size"].tolist() for s in samples[6:]] == [[96, 128]] * 2
        assert not samples[6]["image"].any() and (samples[7]["image"][:, :, :96] == 255).all()


def _used(sample: Inputs) -> tuple[tuple[int, ...], bool]:
    """The labels that are no unused slot, in order, and whether there is a mask input."""
    labels = sample["point_labels"][0]
    return tuple(labels[labels > -2].astype(int)), bool(sample["has_mask_input"][0])


def test_decoder_samples_are_embeddings_with_prompts(photos: Path, tiny_model: MobileSAM) -> None:
    contract = Contract.of(tiny_model)
    samples = list(Calibration(tiny_model, contract, photos).samples("decoder"))
    used = [_used(sample) for sample in samples]
    everyday = [
        ((1, -1), False),
        ((1, 0, -1), False),
        ((1, 1, 1, 0, 0, -1), False),
        ((2, 3), False),
        ((1, 2, 3), False),
        ((1, -1), True),
        ((1, -1), False),
        ((1, -1), False),
    ]
    second = used.index(everyday[0], 8)
    assert used[:8] == used[second : second + 8] == everyday
    assert used[-12:] == [((1, -1), False), ((2, 3), False)] * 6  # on the strips, black and white
    predictor = Predictor(tiny_model)
    for place, name in ((0, "tall.png"), (second, "wide.png")):
        predictor.set_image(str(photos / name))
        assert np.array_equal(samples[place]["image_embeddings"], predictor.embedding.numpy())
    # The mask that goes in is the one the first prompt drew, the best of the three.
    predictor.set_image(str(photos / "tall.png"))
    click = torch.from_numpy(samples[0]["point_coords"][:, :1])
    _, iou, low_res = predictor.predict_torch(click, torch.ones(1, 1))
    best = low_res[0, int(iou[0].argmax())].numpy()
    np.testing.assert_allclose(samples[5]["mask_input"][0, 0], best, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("slots", [2, 3, 8, 11])
def test_every_kind_of_prompt_that_bundles_are_asked_is_calibrated_on(
    photos: Path, slots: int, tiny_model: MobileSAM
) -> None:
    contract = Contract.of(tiny_model, slots=slots)
    seen = {_used(s) for s in Calibration(tiny_model, contract, photos).samples("decoder")}
    size, subject = (40, 90), Subject.middle((40, 90))
    asked = [
        *everyday_cases("wide", subject, size, 128),
        *further_cases("wide", subject, size, 128, slots, Share(0, 1)),
    ]
    kinds = set()
    for case in asked:
        if case.slots > slots:
            continue
        if case.refines:
            case = case.refined(np.zeros((contract.low_res_size,) * 2, np.float32))
        wanted = _used(pack_prompt(case.prompt, case.frame, contract))
        assert wanted in seen, f"{case.name}: {wanted}"
        kinds.add(case.prompt_type)
    assert len(kinds) >= 9
    assert slots < 8 or kinds == set(PROMPT_TYPES)


@pytest.mark.parametrize("count", [2, 5, 40])
def test_prompts_without_a_positive_cue_are_seen_on_two_photos(
    count: int, photos: Path, tmp_path: Path, tiny_model: MobileSAM
) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for place in range(count):
        shutil.copy(photos / "wide.png", folder / f"{place}.png")
    contract = Contract.of(tiny_model)
    rows = prompts_of(calibration_photos(folder), contract)
    every = everyday_prompts(Subject.middle((16, 16)), (16, 16))
    every += remaining_prompts(Subject.middle((16, 16)), (16, 16), contract.slots)
    times = Counter(row.name for own in rows for row in own)
    for row in every:
        if row.packing == "plain":
            assert times[row.name] >= (1 if row.says_where else 2), row.name


def test_what_is_not_to_be_read_does_not_widen_ranges(photos: Path, tiny_model: MobileSAM) -> None:
    contract = Contract.of(tiny_model)
    for sample in Calibration(tiny_model, contract, photos).samples("decoder"):
        unused = sample["point_labels"][0] == -2
        assert not sample["point_coords"][0][unused].any()
        assert sample["has_mask_input"][0] or not sample["mask_input"].any()


def test_prompts_that_need_more_slots_than_there_are_are_left_out(
    photos: Path, tiny_model: MobileSAM
) -> None:
    contract = Contract.of(tiny_model, slots=2)
    samples = list(Calibration(tiny_model, contract, photos).samples("decoder"))
    # A point, a background point, a box or nothing, each with and without a mask.
    assert {len(_used(sample)[0]) for sample in samples} == {0, 2}
    record = calibration_record(contract, CalibrationOptions(folder=photos))
    assert record["decoder_samples"] == str(len(samples))


def test_the_record_names_source_counts_and_content(photos: Path, tiny_model: MobileSAM) -> None:
    contract = Contract.of(tiny_model)
    record = calibration_record(contract, CalibrationOptions(folder=photos))
    assert record["source"] == "folder 'photos'"
    assert (record["photos"], record["encoder_samples"], record["decoder_samples"]) == (
        "2",
        "8",
        str(len(list(Calibration(tiny_model, contract, photos).samples("decoder")))),
    )
    assert int(record["decoder_samples"]) > 2 * 20
    assert record == calibration_record(contract, CalibrationOptions(folder=photos))
    Image.new("RGB", (50, 50)).save(photos / "wide.png")
    changed = calibration_record(contract, CalibrationOptions(folder=photos))
    assert changed["photos_sha256"] != record["photos_sha256"]


def test_other_photos_make_another_export_of_calibrated_schemes_alone(
    photos: Path, tiny_model: MobileSAM
) -> None:
    pytest.importorskip("coremltools")
    options = CalibrationOptions(folder=photos)

    def keys() -> list[str]:
        return [
            export_key(make_spec(tiny_model, "coreml", scheme, calibration=options))
            for scheme in ("w8", "w8a8")
        ]

    before = keys()
    Image.new("RGB", (50, 50)).save(photos / "another.png")
    after = keys()
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no image files"):
        calibration_photos(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        calibration_photos(tmp_path / "none")


def test_a_method_that_a_target_lacks_is_refused_before_the_work(
    tiny_model: MobileSAM, tmp_path: Path
) -> None:
    for method, words in (
        ("mse", "target 'onnx' is calibrated by min-max or entropy, not by mse"),
        ("median", "calibration method must be one of min-max"),
    ):
        with pytest.raises(InputError, match=words):
            export(
                tiny_model,
                targets="onnx",
                schemes="w8a8",
                out=tmp_path / "out",
                calibration_method=method,
            )
    assert not (tmp_path / "out").exists()


def test_another_method_is_another_export_and_in_the_record(tiny_model: MobileSAM) -> None:
    contract = Contract.of(tiny_model)
    keys = set()
    for method in TARGETS["tflite"].calibration_methods:
        options = CalibrationOptions(method=method)
        assert calibration_record(contract, options)["method"] == method
        keys.add(export_key(make_spec(tiny_model, "tflite", "w8a8", calibration=options)))
    assert len(keys) == 2
