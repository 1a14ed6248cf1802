"""Scores that are known by hand, intervals that are known by theory, and real models."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from mobilesam.data.mask_geometry import deepest
from mobilesam.errors import BundleError, InputError
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import Frame
from mobilesam.runtimes.base import Decoded, Runner
from mobilesam.runtimes.bundle import Bundle
from parity.evaluation import job as scoring
from parity.evaluation.clicks import correction
from parity.evaluation.evaluate import evaluate
from parity.evaluation.job import ReadPhoto, score_photo
from parity.evaluation.masked_photos import MaskedPhoto, TrueMask, coco_photos, manifest_photos
from parity.evaluation.scores import (
    MEANINGS,
    PROMPT_NAMES,
    EvaluationReport,
    SegmentResult,
    interval_of_mean,
    score,
)
from parity.evaluation.subset import Subset
from tests.masked_folders import NAMES, coco_file, photo, write_masked
from tests.parity.fakes import ModuleRunner, demo_model, write_bundle
from tests.ray_clusters import two_machines

SIDE = 64

Rows = tuple[int, int]


def stripe(rows: Rows) -> np.ndarray:
    """Mask of whole rows. In logits the edge is found again exactly where it is a multiple of 4."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[slice(*rows)] = True
    return mask


class Stripes(Runner):
    """Answers each type of prompt with stripes and predictions that are written down here."""

    name = "stripes"
    image_size = SIDE
    point: Sequence[Rows] = ((0, 64), (16, 32), (16, 48), (0, 48))
    predicted = (0.99, 0.9, 0.3, 0.2)

    def __init__(self) -> None:
        self.encoded = 0
        self.prompts: list[Prompt] = []

    def load(self) -> None: ...

    def unload(self) -> None: ...

    def encode(self, image: np.ndarray) -> np.ndarray:
        self.encoded += 1
        return np.zeros((1, 256, SIDE // 16, SIDE // 16), np.float32)

    def decode(self, embedding: np.ndarray, prompt: Prompt, frame: Frame) -> Decoded:
        self.prompts.append(prompt)
        stripes, predicted = self.point, self.predicted
        if prompt.mask_input is not None:
            stripes, predicted = [(12, 48)] + [(0, 4)] * 3, (0.5, 1, 1, 1)
        elif prompt.box is not None and len(prompt.point_coords):
            stripes, predicted = [(16, 44)] + [(0, 4)] * 3, (0.8, 1, 1, 1)
        elif prompt.box is not None:
            stripes, predicted = [(16, 40)] + [(0, 4)] * 3, (0.7, 1, 1, 1)
        low_res = np.full((4, SIDE // 4, SIDE // 4), -8, np.float32)
        for channel, (top, bottom) in enumerate(stripes):
            low_res[channel, top // 4 : bottom // 4] = 8
        return Decoded(low_res, np.array(predicted, np.float32))


@pytest.fixture
def striped(tmp_path: Path) -> MaskedPhoto:
    """A photo with two targets: half of its rows, and the left of that half."""
    path = tmp_path / "striped.png"
    Image.new("RGB", (SIDE, SIDE)).save(path)
    left = stripe((16, 48))
    left[:, 32:] = False
    targets = [
        TrueMask("half", stripe((16, 48)), (31, 31)),
        TrueMask("quarter", left, (15, 31)),
    ]
    return MaskedPhoto("striped.png", path, "striped.png", 2, lambda size: targets)


def test_every_prompt_is_scored_by_the_mask_that_sam_shows(striped: MaskedPhoto) -> None:
    runner = Stripes()
    with runner:
        half, quarter = score_photo(runner, ReadPhoto.of(striped, SIDE))
    assert runner.encoded == 1
    assert list(half.prompts) == list(PROMPT_NAMES) == list(MEANINGS)
    assert {name: found.iou for name, found in half.prompts.items()} == pytest.approx(
        {
            "point": 16 / 32,  # mask 1: the best prediction of masks 1 to 3, not the truly best
            "point, best of three": 1.0,
            "box": 24 / 32,
            "box and point": 28 / 32,
            "point, refined": 32 / 36,
            "filled box": 1.0,
        }
    )
    assert quarter.prompts["box"].iou == pytest.approx(24 / (32 + 24))
    assert quarter.prompts["filled box"].iou == 1.0
    assert (half.area, quarter.area) == (2048, 1024)
    scores = {found.prompt: found for found in score([half, quarter])}
    assert scores["box"].mean_iou == pytest.approx((24 / 32 + 24 / 56) / 2)
    errors = [abs(0.7 - 24 / 32), abs(0.7 - 24 / 56)]
    assert scores["box"].prediction_error == pytest.approx(np.mean(errors))
    assert scores["point, best of three"].prediction_error is None
    assert scores["filled box"].prediction_error is None
    assert (scores["box"].segments, scores["box"].images) == (2, 1)
    assert scores["box"].low is None  # one image says nothing of others


def test_prompts_are_what_they_are_called(striped: MaskedPhoto) -> None:
    runner = Stripes()
    score_photo(runner, ReadPhoto.of(striped, SIDE))
    click, refined, box, both = runner.prompts[:4]
    assert click.is_ambiguous and click.point_coords.tolist() == [[31, 31]]
    assert refined.point_coords[0].tolist() == [31, 31]
    # Mask 1 was shown, rows 16 to 32: what is missed lies below, and its middle is clicked.
    assert refined.point_coords[1, 1] in (39, 40)
    assert refined.point_labels.tolist() == [1, 1]
    assert refined.mask_input is not None
    assert (refined.mask_input > 0).nonzero()[0].tolist() == sorted([*range(4, 8)] * 16)
    assert box.box is not None and box.box.tolist() == [0, 16, 64, 48]
    assert not len(box.point_coords)
    assert both.box is not None and both.point_coords.tolist() == [[31, 31]]


def test_a_perfect_first_mask_needs_no_second_click(striped: MaskedPhoto) -> None:
    class Perfect(Stripes):
        predicted = (0.0, 0.1, 0.9, 0.2)

    runner = Perfect()
    half = score_photo(runner, ReadPhoto.of(striped, SIDE))[0]
    assert half.prompts["point"].iou == half.prompts["point, refined"].iou == 1.0
    assert all(prompt.mask_input is None for prompt in runner.prompts[:3])


def test_the_deepest_pixel_is_far_from_outline_and_image_edge() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:31, 20:41] = True
    assert deepest(mask) == (30, 20, 11)
    mask[:] = True
    x, y, depth = deepest(mask)
    assert 19 <= x <= 40 and y in (19, 20) and depth == 20


def test_the_next_click_goes_where_the_mask_is_most_wrong() -> None:
    truth = np.zeros((40, 60), bool)
    truth[10:30, 5:25] = True
    answer = truth.copy()
    answer[10:30, 20:25] = False
    assert correction(truth, answer) == ((22, 12), 1)
    answer[2:38, 32:58] = True  # a larger error on the other side
    (x, y), label = correction(truth, answer) or ((0, 0), 1)
    assert label == 0 and 44 <= x <= 45 and 14 <= y <= 25
    assert correction(truth, truth) is None


def test_interval_of_equal_values_has_no_width() -> None:
    low, high = interval_of_mean([0.75] * 12, list("abcabcabcabc")) or (0, 1)
    assert low == pytest.approx(0.75) and high == pytest.approx(0.75)
    assert interval_of_mean([0.2, 0.9], ["a", "a"]) is None


def test_interval_of_independent_values_is_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(0.6, 0.1, 400)
    low, high = interval_of_mean(list(values), [str(i) for i in range(400)]) or (0, 0)
    expected = 2 * 1.96 * values.std() / np.sqrt(400)
    assert high - low == pytest.approx(expected, rel=0.1)
    assert low < values.mean() < high


def test_segments_of_one_image_are_not_taken_for_independent() -> None:
    generator = np.random.default_rng(2)
    per_image = generator.uniform(0.3, 0.9, 20)
    values = np.repeat(per_image, 16) + generator.normal(0, 0.02, 320)
    images = [str(i) for i in np.repeat(np.arange(20), 16)]
    clustered = interval_of_mean(list(values), images)
    naive = interval_of_mean(list(values), [str(i) for i in range(320)])
    assert clustered is not None and naive is not None
    # Sixteen equal segments say as much as one: four times wider.
    assert clustered[1] - clustered[0] > 3 * (naive[1] - naive[0])
    assert interval_of_mean(list(values), images) == clustered  # the draws are seeded


def test_frames_of_one_film_are_resampled_together() -> None:
    def result(image: str, group: str, value: float) -> SegmentResult:
        found = {name: {"iou": value} for name in PROMPT_NAMES}
        return SegmentResult.model_validate(
            {"image": image, "group": group, "category": "", "area": 1, "prompts": found}
        )

    film = [result(f"frame{i}", "film", 0.2 + i / 100) for i in range(5)]
    assert score(film)[0].low is None and score(film)[0].images == 5
    more = score([*film, result("photo", "photo", 0.9)])[0]
    assert more.low is not None and more.low < more.mean_iou


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_masked(tmp_path / "masked")


def test_a_checkpoint_and_its_bundle_score_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "open_runner", lambda bundle, runtime, **_: opened(bundle))

    def opened(bundle: Bundle) -> ModuleRunner:
        return ModuleRunner(bundle)

    bundle = write_bundle(tmp_path / "torchscript-fp32", demo_model())
    checkpoint = evaluate("demo", folder, image_size=64, threads=1, progress=False)
    exported = evaluate(bundle, folder, threads=1, progress=False)
    assert exported.image_size == checkpoint.image_size == 64
    assert exported.weights["sha256"] == checkpoint.weights["sha256"]
    assert [s.segments for s in checkpoint.scores] == [6] * len(PROMPT_NAMES)
    for ours, theirs in zip(checkpoint.segments, exported.segments, strict=True):
        for name in PROMPT_NAMES:
            assert theirs.prompts[name].iou == pytest.approx(ours.prompts[name].iou, abs=2e-3)
    again = EvaluationReport.model_validate_json(checkpoint.model_dump_json())
    assert again == checkpoint


@pytest.mark.parametrize("described", ["manifest", "coco"])
def test_processes_give_the_same_scores(folder: Path, tmp_path: Path, described: str) -> None:
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps(coco_file()))
    coco = annotations if described == "coco" else None
    run = partial(evaluate, "demo", folder, coco=coco, image_size=64, progress=False)
    alone, shared = run(threads=1), run(engine="local", workers=2)
    assert shared.segments == alone.segments and shared.scores == alone.scores
    assert (shared.engine, shared.weights) == (alone.engine, alone.weights)


@pytest.mark.slow
def test_a_cluster_gives_the_same_scores(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of a folder and a checkpoint that are named from the current folder."""
    monkeypatch.chdir(tmp_path)
    save_file(demo_model().state_dict(), "mine.safetensors")
    run = partial(evaluate, "mine.safetensors", folder.name, image_size=64, progress=False)
    alone = run(threads=1)
    with two_machines() as address:
        shared = run(engine="ray", workers=2, ray_address=address)
    assert shared.segments == alone.segments and shared.images == folder.name


def test_threads_do_not_go_with_workers(folder: Path) -> None:
    with pytest.raises(InputError, match="one thread each: drop --threads"):
        evaluate("demo", folder, engine="local", threads=2, progress=False)
    with pytest.raises(InputError, match="workers are an engine's: name one, local or ray"):
        evaluate("demo", folder, workers=2, progress=False)


def test_a_coco_file_of_the_same_masks_gives_the_same_scores(folder: Path, tmp_path: Path) -> None:
    annotations = tmp_path / "instances.json"
    annotations.write_text(json.dumps(coco_file()))
    run = partial(evaluate, "demo", image_size=64, threads=1, progress=False)
    described, coco = run(folder), run(folder, coco=annotations)
    assert coco.segments == described.segments
    assert coco.scores == described.scores
    assert coco.rule != described.rule


def test_what_is_scored_can_be_chosen(folder: Path, tmp_path: Path) -> None:
    assert [photo.count for photo in Subset(folder).photos()] == [2, 2, 2]
    assert [photo.count for photo in Subset(folder, all_segments=True).photos()] == [3, 3, 3]
    names = tmp_path / "held_out.txt"
    names.write_text(f"# held out\n\n{NAMES[2]}  # with its folder\na.png\na.png\n")
    assert [p.file for p in Subset(folder, names=names).photos()] == [NAMES[0], NAMES[2]]
    assert [p.file for p in Subset(folder, names=names, max_images=1).photos()] == [NAMES[0]]


def test_targets_are_the_manifest_s(folder: Path) -> None:
    first = manifest_photos(folder)[0]
    disc, bar = first.targets((72, 96))
    labels = photo(0)[1]
    assert np.array_equal(disc.mask, labels == 1) and np.array_equal(bar.mask, labels == 2)
    assert bar.box == (60, 4, 84, 64)
    assert np.array_equal(bar.filled_box, bar.mask)
    assert disc.filled_box.sum() == 43 * 43
    with pytest.raises(InputError, match="is 96 x 72, but its image is 72 x 96"):
        first.targets((96, 72))


def test_a_label_that_no_pixel_has_is_an_error(folder: Path) -> None:
    Image.new("L", (96, 72)).save(folder / "masks" / "a.png")
    with pytest.raises(InputError, match=r"a\.png has no pixel of label 1"):
        manifest_photos(folder)[0].targets((72, 96))


def test_segments_need_a_label_image(folder: Path) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"mask": "masks/b.png"', '"mask": null'))
    with pytest.raises(InputError, match=r"'images/b\.png' .* has segments but no label image"):
        manifest_photos(folder)


def test_a_bundle_with_too_few_slots_is_refused(folder: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "torchscript-fp32", demo_model(), slots=2)
    with pytest.raises(InputError, match="has 2 point slots and evaluating needs 3"):
        evaluate(bundle, folder, progress=False)


def test_a_coco_mask_that_cannot_be_decoded_names_its_image(folder: Path, tmp_path: Path) -> None:
    content = coco_file()
    content["annotations"][0]["segmentation"] = {"size": [72, 96], "counts": [5]}
    (tmp_path / "instances.json").write_text(json.dumps(content))
    (first, *_) = coco_photos(folder, tmp_path / "instances.json")
    with pytest.raises(InputError, match=r"a\.png: a disc's run lengths do not add up"):
        first.targets((72, 96))


def test_an_altered_bundle_is_refused(folder: Path, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "torchscript-fp32", demo_model())
    (bundle / "encoder.pt").write_text("something else")
    with pytest.raises(BundleError):
        evaluate(bundle, folder, progress=False)
