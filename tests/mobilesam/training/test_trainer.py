"""The training loop: it learns, grows, and survives being killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mobilesam import load_model
from mobilesam.errors import InputError
from mobilesam.model.build import build
from mobilesam.training.config import (
    Data,
    Geometry,
    LossWeights,
    SourceMix,
    TrainConfig,
    load_config,
)
from mobilesam.training.curves import draw_curves
from mobilesam.training.dataset import TrainingImages
from mobilesam.training.initial import embedding_scale, initial_model, initialise
from mobilesam.training.library import load_library
from mobilesam.training.optimisation import estimate_batch_norm
from mobilesam.training.run_folder import CURVES, LOG, STATE, WEIGHTS, RunFolder
from mobilesam.training.trainer import Training, train
from mobilesam.weights.checkpoints import load_state_dict
from tests.masked_folders import NAMES, write_masked
from tests.mobilesam.training.conftest import small_config, small_stage, write_held_out

PHOTOS = SourceMix(masks=1, scenes=0)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def losses(folder: Path) -> np.ndarray:
    return np.array([row["loss"] for row in rows(folder)])


@pytest.mark.slow
def test_loss_falls_from_scratch(masked: Path, tmp_path: Path) -> None:
    stage = small_stage(
        steps=27,
        batch=3,
        prompts=4,
        lr=1e-3,
        warmup=3,
        rounds=1,
        whole=1.0,
        ema_decay=0.9,
        sources=PHOTOS,
    )
    config = small_config(masked, stage)
    weights = train(config, tmp_path / "run", workers=0)
    values = losses(tmp_path / "run")
    assert len(values) == 27 and np.isfinite(values).all()
    assert values[-9:].mean() < 0.8 * values[:9].mean()
    model = load_model(weights, image_size=64)
    start = initial_model("vit_t", "fresh", 64, 0).state_dict()
    moved = [not torch.equal(start[k], tensor) for k, tensor in model.state_dict().items()]
    assert np.mean(moved) > 0.5
    with Image.open(tmp_path / "run" / CURVES) as image:
        assert image.format == "PNG" and image.size[0] > 500


@pytest.mark.slow
def test_stages_grow_and_a_finished_run_stays(masked: Path, tmp_path: Path) -> None:
    frozen = small_stage(image_size=80, steps=2, batch=1, freeze_batch_norm=True, rounds=1)
    config = small_config(masked, small_stage(steps=2, batch=1, rounds=1), frozen, save_every=1)
    run = tmp_path / "run"
    train(config, run, workers=0, stop_after=3)
    stopped = torch.load(run / STATE, weights_only=True)
    assert stopped["step"] == 3
    train(config, run, workers=0)
    logged = rows(run)
    assert [(row["step"], row["stage"], row["image_size"]) for row in logged] == [
        (0, 0, 64), (1, 0, 64), (2, 1, 80), (3, 1, 80),
    ]  # fmt: skip
    ended = torch.load(run / STATE, weights_only=True)["model"]
    kept = [name for name in ended if name.endswith(("running_mean", "running_var"))]
    assert kept and all(torch.equal(ended[name], stopped["model"][name]) for name in kept)
    kernel = "image_encoder.patch_embed.seq.0.c.weight"
    assert not torch.equal(ended[kernel], stopped["model"][kernel])
    weights = load_state_dict(run / WEIGHTS)[0]
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert before.keys() == {"config.json", LOG, STATE, WEIGHTS, CURVES}
    train(config, run, workers=0)
    after = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    for name in ("config.json", LOG, CURVES):
        assert after[name] == before[name]
    weights_after = load_state_dict(run / WEIGHTS)[0]
    assert all(torch.equal(weights[name], weights_after[name]) for name in weights)
    again = torch.load(run / STATE, weights_only=True)["model"]
    assert all(torch.equal(ended[name], again[name]) for name in ended)


def test_fine_tuning_starts_from_a_checkpoint(masked: Path, tmp_path: Path) -> None:
    stage = small_stage(steps=1, batch=1, lr=1e-5, rounds=1)
    weights = train(small_config(masked, stage, init="demo"), tmp_path / "run", workers=0)
    tuned, demo = load_state_dict(weights)[0], load_state_dict("demo")[0]
    assert tuned.keys() == demo.keys()
    for name in (name for name in demo if name.endswith("weight")):
        torch.testing.assert_close(tuned[name], demo[name], rtol=2e-3, atol=1e-4)
    assert any(not torch.equal(tuned[name], demo[name]) for name in demo)


def test_batch_norms_of_the_average_are_estimated_at_the_end(masked: Path, tmp_path: Path) -> None:
    stages = small_stage(steps=1, rounds=1), small_stage(image_size=80, steps=2, rounds=1)
    config = small_config(masked, *stages, batch_norm_batches=3)
    run = tmp_path / "run"
    statistic = "image_encoder.patch_embed.seq.0.bn.running_mean"
    moving = torch.load(train_and_state(config, run, 2), weights_only=True)["average"]
    early = load_state_dict(run / WEIGHTS)[0]
    assert torch.equal(early[statistic], moving[f"module.{statistic}"].half().float())
    moving = torch.load(train_and_state(config, run, None), weights_only=True)["average"]
    weights = load_state_dict(run / WEIGHTS)[0]
    model = build("vit_t", 80)
    model.load_state_dict({name.removeprefix("module."): t for name, t in moving.items()
                           if name.startswith("module.")})  # fmt: skip
    library = load_library(config.data, with_regions=False, cache=run)
    images = TrainingImages(library, stages[1], config.seed, 1)
    batches = [torch.cat([images[4 + 2 * b + i].images for i in (0, 1)]) for b in range(3)]
    estimate_batch_norm(model.image_encoder, batches)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(weights[name], tensor, rtol=2e-3, atol=2e-3, msg=name)
    changed = (weights[statistic] - moving[f"module.{statistic}"]).abs().max()
    assert changed > 1e-2


def train_and_state(config: TrainConfig, run: Path, stop_after: int | None) -> Path:
    train(config, run, workers=0, stop_after=stop_after)
    return run / STATE


def write_recipe(path: Path, masks: Path, steps: int) -> Path:
    path.write_text(
        f"""
        bf16 = false
        save_every = 3
        [data]
        masks = ["{masks}"]
        [[stages]]
        image_size = 64
        steps = {steps}
        batch = 1
        prompts = 2
        lr = 1e-4
        """
    )
    return path


@pytest.mark.slow
def test_kill_and_resume(masked: Path, tmp_path: Path) -> None:
    steps = 12
    recipe = write_recipe(tmp_path / "recipe.toml", masked, steps)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    code = "from mobilesam_cli import main; main()"
    arguments = ["train", str(recipe), "--out", str(killed), "--workers", "1", "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment)
    try:
        deadline = time.monotonic() + 300
        log = killed / LOG
        while not log.is_file() or log.read_text().count("\n") < 4:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (killed / WEIGHTS).exists()
    with log.open("a") as file:
        file.write('{"step": ')  # as if killed while writing
    config = load_config(recipe, TrainConfig)
    train(config, killed, workers=0)
    train(config, whole, workers=0)
    assert [row["step"] for row in rows(killed)] == list(range(steps))
    np.testing.assert_allclose(losses(killed), losses(whole), rtol=1e-3)
    resumed, uninterrupted = (load_state_dict(run / WEIGHTS)[0] for run in (killed, whole))
    for name, tensor in uninterrupted.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=1e-2, atol=1e-3, msg=name)
    assert (killed / CURVES).is_file()


def test_geometry_comes_first_and_once(masked: Path, tmp_path: Path) -> None:
    stage = small_stage(steps=2, batch=1, rounds=1)
    config = small_config(masked, stage, geometry=Geometry(steps=3, prompts=8))
    encoder = "image_encoder.patch_embed.seq.0.c.weight"
    decoder = "mask_decoder.iou_token.weight"
    fresh = initial_model("vit_t", "fresh", 64, 0).state_dict()
    run = tmp_path / "run"
    folder = RunFolder(run, config)
    library = load_library(config.data, with_regions=False, cache=run)
    training = Training(config, folder, initial_model("vit_t", "fresh", 64, 0), library, 0)
    training.learn_geometry(lambda items, what: items)
    learnt = torch.load(run / STATE, weights_only=True)
    assert learnt["step"] == 0
    assert torch.equal(learnt["model"][encoder], fresh[encoder])
    assert not torch.equal(learnt["model"][decoder], fresh[decoder])
    assert torch.equal(learnt["average"][f"module.{decoder}"], learnt["model"][decoder])
    train(config, run, workers=0)
    assert [row["step"] for row in rows(run)] == [-3, -2, -1, 0, 1]
    assert all(row["stage"] == -1 and "iou_geometry" in row for row in rows(run)[:3])


def test_a_fresh_decoder_owes_nothing_to_the_checkpoint() -> None:
    model = initial_model("vit_t", "demo", 64, 7, fresh_decoder=True)
    demo = load_state_dict("demo")[0]
    moved = {name: 1.5 * t for name, t in demo.items() if not name.startswith("image_encoder.")}
    other = initial_model("vit_t", "demo", 64, 0)
    other.load_state_dict(moved, strict=False)
    initialise(other.prompt_encoder, 7)
    initialise(other.mask_decoder, 8)
    state, expected = model.state_dict(), other.state_dict()
    for name, tensor in state.items():
        if not name.startswith("image_encoder."):
            assert torch.equal(tensor, expected[name]), name
        elif ".neck.3." not in name:
            assert torch.equal(tensor, demo[name]), name
    assert embedding_scale(model) == pytest.approx(0.4)
    assert embedding_scale(initial_model("vit_t", "fresh", 64, 7)) == pytest.approx(0.4)


def test_held_out_photos_are_never_read(tmp_path: Path) -> None:
    folder = write_masked(tmp_path / "masked")
    data = Data(masks=(folder,), held_out=write_held_out(folder, "c.png"))
    config = small_config(folder, small_stage(steps=2, rounds=1), data=data)
    assert train(config, tmp_path / "run", workers=0).is_file()


@pytest.mark.parametrize("name", ["c.png", "images/c.png"])
def test_a_held_out_photo_is_hidden_wherever_it_is_listed(tmp_path: Path, name: str) -> None:
    folder = write_masked(tmp_path / "masked")
    names = tmp_path / "names.txt"
    names.write_text(f"{name}\n")
    data = Data(masks=(folder,), photos=(folder / "images",), held_out=names)
    library = load_library(data, with_regions=False, cache=tmp_path)
    assert {photo.path.name for photo in library.scenes.photos} == {"a.png", "b.png"}
    assert len(library.masked) == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_a_photo_that_cannot_be_read_is_one_sentence(tmp_path: Path, workers: int) -> None:
    folder = write_masked(tmp_path / "masked")
    for name in NAMES:
        (folder / name).write_bytes(b"not a photo")
    with pytest.raises(InputError) as caught:
        train(small_config(folder), tmp_path / "run", workers=workers)
    sentence = str(caught.value)
    assert ".png' is not an image" in sentence and "\n" not in sentence
    assert "Traceback" not in sentence


def test_a_later_stage_without_sources_is_found_at_the_start(masked: Path, tmp_path: Path) -> None:
    bad = small_stage(sources=SourceMix(masks=0, scenes=0))
    with pytest.raises(InputError, match="nothing to learn from"):
        train(small_config(masked, small_stage(), bad), tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


def test_fresh_parameters_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    first = initial_model("vit_t", "fresh", 64, 5).state_dict()
    torch.manual_seed(2)
    again, other = (initial_model("vit_t", "fresh", 64, s).state_dict() for s in (5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    kernel = "image_encoder.patch_embed.seq.0.c.weight"
    assert not torch.equal(first[kernel], other[kernel])


def test_slow_layers_are_exchanged_in_bfloat16_alone(masked: Path, tmp_path: Path) -> None:
    for bf16 in (False, True):
        config = small_config(masked, small_stage(), bf16=bf16)
        folder = RunFolder(tmp_path / f"run_{bf16}", config)
        library = load_library(config.data, with_regions=False, cache=tmp_path)
        model = initial_model("vit_t", "fresh", 64, 0)
        Training(config, folder, model, library, 0)
        on_cpu = next(model.parameters()).device.type == "cpu"
        exchanged = "forward" in vars(model.mask_decoder.output_upscaling[0])
        assert exchanged == (bf16 and on_cpu)


def test_attention_biases_start_with_variance() -> None:
    state = initial_model("vit_t", "fresh", 64, 0).state_dict()
    biases = [tensor for name, tensor in state.items() if name.endswith("attention_biases")]
    assert len(biases) == 10
    for bias in biases:
        assert bias.std() > 0.3
        assert bias[0, -1] < bias[-1, -1] - 2  # the first head looks near, the last one far
    same = [tensor for name, tensor in state.items() if name.endswith("qkv.bias")]
    assert not any(tensor.any() for tensor in same)


def test_curves_of_a_run_whose_last_stage_has_just_begun(tmp_path: Path) -> None:
    logged = [{"step": s, "stage": 0, "loss": 1.0, "iou_box": 0.5} for s in range(400)]
    logged += [{"step": 400, "stage": 1, "loss": 1.0, "iou_refined": 0.5}]
    draw_curves(logged, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.format == "PNG"
    assert [path.name for path in tmp_path.iterdir()] == ["curves.png"]


def test_sams_loss_can_be_asked_for(masked: Path, tmp_path: Path) -> None:
    sam = LossWeights(balanced=0, focal=20, dice=1, iou=1)
    config = small_config(masked, small_stage(steps=1, batch=1, loss=sam), optimizer="muon")
    train(config, tmp_path / "run", workers=0)
    assert np.isfinite(losses(tmp_path / "run")).all()
