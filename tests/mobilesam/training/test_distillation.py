"""Decoupled distillation on a handful of small photos."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from converters.tflite.weights import plan_of, roundings_of
from mobilesam import load_model
from mobilesam.errors import InputError
from mobilesam.model.sam import MobileSAM
from mobilesam.training import embeddings
from mobilesam.training.config import DistillConfig
from mobilesam.training.distillation import CACHE, distill, split
from mobilesam.training.embeddings import EmbeddingCache, View, fixed_views
from mobilesam.training.run_folder import CURVES, LOG, WEIGHTS
from mobilesam.weights.checkpoints import load_state_dict, tensors_sha256
from mobilesam.weights.files import read_metadata

STEPS = 30


def write_photos(folder: Path, count: int) -> Path:
    """Photos of 64 x 64 pixels: coloured blocks and waves."""
    folder.mkdir()
    for number in range(count):
        random = np.random.default_rng(number)
        coarse = random.integers(0, 255, (5, 5, 3)).astype(np.uint8)
        kind = (Image.Resampling.NEAREST, Image.Resampling.BICUBIC)[number % 2]
        Image.fromarray(coarse).resize((64, 64), kind).save(folder / f"{number}.png")
    return folder


def small(folder: Path, **changes: Any) -> DistillConfig:
    settings: dict[str, Any] = {
        "photos": (folder,),
        "image_size": 64,
        "steps": STEPS,
        "batch": 4,
        "lr": 2e-3,
        "warmup": 3,
        "evaluate_every": 20,
        "ema_decay": 0.8,
        "bf16": False,
        "crops": 1,
        "held_out_share": 0.2,
    }
    return DistillConfig(**(settings | changes))


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photos(tmp_path_factory.mktemp("photos") / "some", 10)


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    distill(small(photos), folder)
    return folder


@pytest.mark.slow
def test_the_error_on_unseen_photos_halves(whole: Path) -> None:
    logged = rows(whole)
    assert [row["step"] for row in logged] == list(range(STEPS))
    first, last = logged[0]["held_out_mse"], logged[-1]["held_out_mse_end"]
    assert 0 < last < 0.5 * first
    assert sum("held_out_mse" in row for row in logged) == 2  # every 20 steps
    with Image.open(whole / CURVES) as image:
        assert image.format == "PNG"


def test_the_rest_is_the_teachers(whole: Path) -> None:
    student, demo = load_state_dict(whole / WEIGHTS)[0], load_state_dict("demo")[0]
    assert student.keys() == demo.keys()
    for name, tensor in demo.items():
        if not name.startswith("image_encoder."):
            assert torch.equal(student[name], tensor.half().float()), name
    assert not torch.equal(
        student["image_encoder.patch_embed.seq.0.c.weight"],
        demo["image_encoder.patch_embed.seq.0.c.weight"],
    )
    load_model(whole / WEIGHTS, image_size=64)


@pytest.mark.slow
def test_resumed_is_as_uninterrupted(photos: Path, whole: Path, tmp_path: Path) -> None:
    config = small(photos)
    distill(config, tmp_path / "run", stop_after=4)
    assert len(rows(tmp_path / "run")) == 4
    distill(config, tmp_path / "run", stop_after=8)
    expected, found = rows(whole)[:8], rows(tmp_path / "run")
    assert [row["step"] for row in found] == list(range(8))
    for key in ("loss", "lr"):
        np.testing.assert_allclose(
            [row[key] for row in found], [row[key] for row in expected], rtol=1e-3
        )
    assert found[0]["held_out_mse"] == pytest.approx(expected[0]["held_out_mse"], rel=1e-3)


def test_held_out_photos_are_never_learnt_from(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, bool]] = []
    image = View.image

    def spy(self: View, image_size: int) -> torch.Tensor:
        seen.append((self.path.name, torch.is_grad_enabled()))
        return image(self, image_size)

    monkeypatch.setattr(View, "image", spy)
    distill(small(photos, steps=6), tmp_path / "run")
    learnt = {name for name, learning in seen if learning}
    cached = {name for name, learning in seen if not learning}
    assert len(cached) == 10 and 1 <= len(learnt) <= 8
    held_out = {name for name, _ in seen[-2:]}  # the last thing that a run does
    assert len(held_out) == 2 and not held_out & learnt


def test_photos_that_are_named_are_judged_on(photos: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("3.png\n7.png\n")
    known, unseen = split(sorted(photos.iterdir()), small(photos, held_out=names))
    assert [path.name for path in unseen] == ["3.png", "7.png"]
    assert len(known) == 8 and not set(known) & set(unseen)
    names.write_text("".join(f"{path.name}\n" for path in photos.iterdir()))
    with pytest.raises(InputError, match="at least two photos"):
        split(sorted(photos.iterdir()), small(photos, held_out=names))


def test_more_photos_do_not_reshuffle_the_others(photos: Path) -> None:
    paths, config = sorted(photos.iterdir()), small(photos)
    _, before = split(paths[:9], config)
    _, after = split(paths, config)
    assert len(before) == len(after) == 2
    assert set(after) - set(before) <= {paths[9]}
    assert split(paths[::-1], config)[1] == after


@pytest.fixture(scope="module")
def teacher() -> MobileSAM:
    return load_model("demo", image_size=64)


class TestEmbeddings:
    """The teacher's embeddings on disk."""

    def test_shards_are_reused_and_repaired(
        self, photos: Path, tmp_path: Path, teacher: MobileSAM, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(embeddings, "SHARD", 4)
        views = fixed_views(sorted(photos.iterdir())[:3], 1, 0)
        calls: list[int] = []
        hook = teacher.image_encoder.register_forward_hook(lambda *_: calls.append(1))

        def filled() -> EmbeddingCache:
            calls.clear()
            cache = EmbeddingCache(tmp_path, teacher, views)
            cache.fill()
            return cache

        first = filled()
        assert len(calls) == 6
        with torch.no_grad():
            expected = [teacher.image_encoder(view.image(64)).half() for view in views]
        second = filled()
        assert not calls
        shards = sorted(first.folder.iterdir())
        assert [path.name for path in shards] == ["000000.safetensors", "000004.safetensors"]
        for shard, content in zip(shards, (shards[0].read_bytes()[:-100], b""), strict=True):
            shard.unlink()  # the second cache still has it mapped
            shard.write_bytes(content)
        third = filled()
        assert len(calls) == 6
        for cache in (first, second, third):
            for number, wanted in enumerate(expected):
                assert cache[number].dtype == torch.float16
                assert torch.equal(cache[number], wanted)
        hook.remove()

    def test_other_teachers_sizes_and_views_have_other_shards(
        self, photos: Path, tmp_path: Path, teacher: MobileSAM
    ) -> None:
        paths = sorted(photos.iterdir())[:2]
        views = fixed_views(paths, 1, 0)
        folders = {EmbeddingCache(tmp_path, teacher, views).folder}
        assert {EmbeddingCache(tmp_path, teacher, fixed_views(paths, 1, 0)).folder} == folders
        state = {
            name: 1.01 * tensor if tensor.is_floating_point() else tensor
            for name, tensor in load_state_dict("demo")[0].items()
        }
        path = tmp_path / "other.pt"
        torch.save(state, path)
        other = load_model(path, image_size=64)
        assert other.weights is not None and other.weights.sha256 == tensors_sha256(state)
        larger = load_model("demo", image_size=80)
        folders |= {EmbeddingCache(tmp_path, other, views).folder}
        folders |= {EmbeddingCache(tmp_path, larger, views).folder}
        folders |= {EmbeddingCache(tmp_path, teacher, fixed_views(paths, 1, 1)).folder}
        folders |= {EmbeddingCache(tmp_path, teacher, views[:-1]).folder}
        assert len(folders) == 5


def test_fixed_views_stay_inside() -> None:
    views = fixed_views([Path("a.png"), Path("b.png")], 20, 3)
    assert len(views) == 42 and views[0] == View(Path("a.png"))
    boxes = np.array([view.box for view in views])
    assert boxes.min() >= 0 and boxes.max() <= 1
    assert (boxes[:, 2:] - boxes[:, :2]).min() > 0.29
    assert len(np.unique(boxes, axis=0)) == 41
    assert views == fixed_views([Path("a.png"), Path("b.png")], 20, 3)


@pytest.mark.slow
def test_the_teacher_teaches_its_quantized_self(photos: Path, tmp_path: Path) -> None:
    rounding_of = partial(roundings_of, plan=plan_of("w4"))
    config = small(photos, scheme="w4", lr=1e-5, steps=12, ema_decay=0.5, weight_decay=0.0)
    weights = distill(config, tmp_path / "run", rounding_of=rounding_of)
    logged = rows(tmp_path / "run")
    assert 0 < logged[-1]["held_out_mse_end"] < 0.9 * logged[0]["held_out_mse"] < 0.01
    student, demo = load_state_dict(weights)[0], load_state_dict("demo")[0]
    changed = {name for name in demo if not torch.equal(student[name], demo[name])}
    assert "image_encoder.layers.1.blocks.0.attn.qkv.weight" in changed
    assert all(name.startswith("image_encoder.") and "running" not in name for name in changed)
    about = read_metadata(weights)
    assert about["scheme"] == "w4"
    teacher = load_model("demo").weights
    assert teacher is not None and about["teacher_sha256"] == teacher.sha256
    with pytest.raises(ValueError, match="is to say what the configuration's scheme means"):
        distill(config, tmp_path / "other")


def test_one_photo_given_twice_is_one_photo(photos: Path, tmp_path: Path) -> None:
    alone = write_photos(tmp_path / "alone", 1)
    with pytest.raises(InputError, match="at least two photos"):
        distill(small(photos, photos=(alone, alone)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_cache_is_in_the_runs_folder(whole: Path) -> None:
    files = {path.name for path in whole.iterdir()}
    assert files == {"config.json", LOG, "state.pt", WEIGHTS, CURVES, CACHE}
    shards = list((whole / CACHE).rglob("*.safetensors"))
    assert len(shards) == 2  # photos to learn from, and those held out
