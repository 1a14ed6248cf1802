"""Checkpoints: found by name or path, read without executing anything, fitted strictly."""

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mobilesam.errors import CheckpointError, DownloadError
from mobilesam.model.build import build
from mobilesam.weights import checkpoints
from mobilesam.weights.checkpoints import (
    UNUSED_HEAD,
    fit_state_dict,
    load_state_dict,
    resolve,
    tensors_sha256,
)
from mobilesam.weights.demo import DEMO_FILE
from mobilesam.weights.published import PUBLISHED

Weights = dict[str, torch.Tensor]

SMALL: Weights = {
    "image_encoder.a.weight": torch.linspace(-1, 1, 6).reshape(2, 3),
    "mask_decoder.b.bias": torch.tensor([0.5, -0.25]),
    "mask_decoder.b.num_batches_tracked": torch.tensor(7),
}


def save(folder: Path, content: object, name: str = "weights.pt", **options: Any) -> Path:
    path = folder / name
    torch.save(content, path, **options)
    return path


def refused(weights: str | Path) -> str:
    """The message of the refusal, checked to be one line that ends like a sentence."""
    with pytest.raises(CheckpointError) as caught:
        load_state_dict(weights)
    message = str(caught.value)
    assert "\n" not in message and message[-1] in ".?"
    return message


def assert_same(found: Weights, expected: Weights) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


# Reading files


def test_containers_and_formats_give_the_same_weights(tmp_path: Path) -> None:
    save_file(SMALL, tmp_path / "weights.safetensors")
    paths = [
        save(tmp_path, SMALL, "zip.pt"),
        save(tmp_path, SMALL, "legacy.pth", _use_new_zipfile_serialization=False),
        save(tmp_path, {"model": SMALL, "epoch": 3}, "model.pt"),
        save(tmp_path, {"state_dict": SMALL, "best": 0.7}, "state_dict.pt"),
        save(tmp_path, {"state_dict": {"model": SMALL}}, "nested.pt"),
        tmp_path / "weights.safetensors",
    ]
    # The content decides, not the suffix.
    misnamed = tmp_path / "safetensors.pt"
    misnamed.write_bytes((tmp_path / "weights.safetensors").read_bytes())
    digests = set()
    for path in [*paths, misnamed]:
        state_dict, info = load_state_dict(path)
        assert_same(state_dict, SMALL)
        assert info.name == path.name and info.source == str(path)
        digests.add(info.sha256)
    assert digests == {tensors_sha256(SMALL)}


@pytest.mark.parametrize(
    "prefix", ["model.", "module.", "sam.", "module.sam.", "model.module.sam."]
)
def test_prefixes_are_stripped(tmp_path: Path, prefix: str) -> None:
    prefixed = {prefix + name: tensor for name, tensor in SMALL.items()}
    assert_same(load_state_dict(save(tmp_path, prefixed))[0], SMALL)


def test_a_prefix_that_not_all_entries_share_stays(tmp_path: Path) -> None:
    mixed = {"model.a": torch.zeros(1), "b": torch.zeros(1)}
    assert set(load_state_dict(save(tmp_path, mixed))[0]) == {"model.a", "b"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(tmp_path: Path, dtype: torch.dtype) -> None:
    stored = {k: v.to(dtype) if v.is_floating_point() else v for k, v in SMALL.items()}
    state_dict, _ = load_state_dict(save(tmp_path, stored))
    assert state_dict["image_encoder.a.weight"].dtype == torch.float32
    assert state_dict["mask_decoder.b.num_batches_tracked"].dtype == torch.int64
    expected = {k: v.float() if v.is_floating_point() else v for k, v in stored.items()}
    assert_same(state_dict, expected)


class Bomb:
    """Creates a file when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch '{self.trace}'",)


def _raw_pickle(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content))


def _torch_zip(content: object, path: Path) -> None:
    torch.save(content, path)


def _torch_legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [_raw_pickle, _torch_zip, _torch_legacy])
@pytest.mark.parametrize("nested", [False, True])
def test_code_in_a_pickle_is_refused_and_not_executed(
    tmp_path: Path, write: Callable[[object, Path], None], nested: bool
) -> None:
    trace = tmp_path / "executed"
    path = tmp_path / "evil.pt"
    write({**SMALL, "extra": Bomb(trace)} if nested else Bomb(trace), path)
    message = refused(path)
    assert "would execute code" in message
    assert "system" in message
    assert not trace.exists()
    # The trap is armed: an ordinary unpickler does execute it.
    pickle.loads(pickle.dumps(Bomb(trace)))
    assert trace.exists()


def test_a_pickled_module_is_refused(tmp_path: Path) -> None:
    message = refused(save(tmp_path, torch.nn.Linear(2, 2)))
    assert "torch.nn.modules.linear.Linear" in message and "state_dict" in message


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_truncated(tmp_path: Path, zipped: bool, kept: float) -> None:
    content = {"a": torch.randn(5000), "b": torch.randn(5000)}
    path = save(tmp_path, content, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert "truncated or damaged" in refused(path)


@pytest.mark.parametrize("kept", [4, 20, 200])
def test_truncated_safetensors(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(100)}, path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "truncated or damaged" in refused(path)


def test_damaged_safetensors_header(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(100)}, path)
    whole = bytearray(path.read_bytes())
    whole[20] ^= 0xFF
    path.write_bytes(whole)
    assert "truncated or damaged" in refused(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"just some notes\n" * 20, "is not a checkpoint"),
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "is not a checkpoint"),
        (pickle.dumps({"a": 1}), "not a PyTorch checkpoint"),
    ],
)
def test_files_that_are_not_checkpoints(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    assert says in refused(path)


def test_other_zip_files(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("folder/readme.txt", "hello")
    assert "not a checkpoint" in refused(path)
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(path)
    assert "TorchScript" in refused(path)


@pytest.mark.parametrize("content", [torch.ones(3), [torch.ones(3)], {}, {"model": {}}])
def test_pytorch_files_without_named_tensors(tmp_path: Path, content: object) -> None:
    assert "a dict of named tensors is needed" in refused(save(tmp_path, content))


def test_entries_that_are_not_tensors(tmp_path: Path) -> None:
    message = refused(save(tmp_path, {**SMALL, "epoch": 3, "optimizer": {"lr": 0.1}}))
    assert "epoch, optimizer" in message


# Names and paths


def test_a_missing_file_names_what_is_known(tmp_path: Path) -> None:
    message = refused(tmp_path / "missing.pt")
    assert "missing.pt" in message and "'demo'" in message and "'official'" in message
    assert "directory" in refused(tmp_path)
    for name in ("manifest.json", "encoder.onnx"):
        (tmp_path / name).touch()
    assert "is an exported bundle (a directory), not a checkpoint" in refused(tmp_path)


@pytest.mark.parametrize(("typed", "meant"), [("ofical", "official"), ("Demo", "demo")])
def test_the_nearest_name_is_suggested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, meant: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(typed).endswith(f"did you mean '{meant}'?")
    assert "did you mean" not in refused("xyz.pt")


def test_a_name_wins_over_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path, SMALL, "demo")
    assert resolve("demo") == DEMO_FILE
    assert resolve("./demo") == Path("demo")


def test_official_comes_from_a_mirror_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = save(tmp_path, {"model": SMALL}, "mirror.pt")
    digest = hashlib.sha256(mirror.read_bytes()).hexdigest()
    published = {"official": replace(PUBLISHED["official"], sha256=digest)}
    monkeypatch.setattr(checkpoints, "PUBLISHED", published)
    monkeypatch.setenv("MOBILESAM_URL", mirror.as_uri())
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path / "cache"))
    state_dict, info = load_state_dict("official")
    assert_same(state_dict, SMALL)
    assert (info.name, info.source) == ("official", mirror.as_uri())
    assert (tmp_path / "cache" / "mobile_sam.pt").exists()
    # Arguments win over the environment; a second call needs no address.
    load_state_dict("official", cache_dir=tmp_path / "other", url=mirror.as_uri())
    load_state_dict("official", cache_dir=tmp_path / "other", url="http://127.0.0.1:9/gone")


def test_a_checkpoint_may_say_what_it_is(tmp_path: Path) -> None:
    about = {"description": "mine", "licence": "CC0-1.0"}
    save_file(SMALL, tmp_path / "mine.safetensors", about)
    _, info = load_state_dict(tmp_path / "mine.safetensors")
    assert (info.name, info.licence, info.description) == ("mine.safetensors", "CC0-1.0", "mine")


def test_official_without_its_digest_is_refused(tmp_path: Path) -> None:
    fake = save(tmp_path, SMALL, "fake.pt")
    with pytest.raises(DownloadError, match="SHA-256"):
        load_state_dict("official", cache_dir=tmp_path / "cache", url=fake.as_uri())


def test_demo_says_what_it_is() -> None:
    state_dict, info = load_state_dict()
    assert (info.name, info.licence) == ("demo", "Apache-2.0")
    assert "not MobileSAM's own" in info.description
    assert info.sha256 == tensors_sha256(state_dict)


# The digest


def test_digest_depends_on_every_name_shape_dtype_and_value() -> None:
    base = {"a": torch.arange(6.0), "b": torch.zeros(2)}
    changed: list[Weights] = [
        {"a": base["a"]},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"].reshape(2, 3), "b": base["b"]},
        {"a": base["a"].to(torch.int64), "b": base["b"]},
        {"a": base["a"].flip(0), "b": base["b"]},
    ]
    digests = {tensors_sha256(weights) for weights in [base, *changed]}
    assert len(digests) == 6
    assert tensors_sha256({"b": base["b"], "a": base["a"]}) in digests


def test_digest_leaves_the_head_out() -> None:
    with_head = {**SMALL, "image_encoder.head.weight": torch.ones(3)}
    assert tensors_sha256(with_head) == tensors_sha256(SMALL)


# Fitting


@pytest.fixture(scope="module")
def full() -> Weights:
    return load_state_dict()[0]


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    return build(image_size=64)


def misfit(model: torch.nn.Module, state_dict: Weights) -> str:
    before = tensors_sha256(model.state_dict())
    with pytest.raises(CheckpointError) as caught:
        fit_state_dict(model, state_dict)
    assert tensors_sha256(model.state_dict()) == before  # a refused checkpoint changes nothing
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    return message


@pytest.mark.parametrize("with_head", [True, False])
def test_fits_with_and_without_the_unused_head(
    model: torch.nn.Module, full: Weights, with_head: bool
) -> None:
    head = {
        "image_encoder.norm_head.weight": torch.ones(320),
        "image_encoder.norm_head.bias": torch.ones(320),
        "image_encoder.head.weight": torch.ones(1000, 320),
        "image_encoder.head.bias": torch.ones(1000),
    }
    assert all(name.startswith(UNUSED_HEAD) for name in head)
    fit_state_dict(model, {**full, **head} if with_head else full)
    assert tensors_sha256(model.state_dict()) == tensors_sha256(full)


def test_missing_unexpected_and_wrong_shape_are_named(
    model: torch.nn.Module, full: Weights
) -> None:
    changed = dict(full)
    del changed["mask_decoder.iou_token.weight"]
    changed["mask_decoder.extra"] = torch.zeros(2)
    changed["image_encoder.neck.0.weight"] = torch.zeros(256, 300, 1, 1)
    message = misfit(model, changed)
    assert "1 missing: mask_decoder.iou_token.weight" in message
    assert "1 unexpected: mask_decoder.extra" in message
    assert (
        "1 of the wrong shape: image_encoder.neck.0.weight (256x300x1x1 instead of 256x320x1x1)"
        in message
    )


def test_long_lists_are_cut_and_counted(model: torch.nn.Module, full: Weights) -> None:
    changed = {k: v for k, v in full.items() if not k.startswith("mask_decoder.output_hyper")}
    message = misfit(model, changed)
    assert "24 missing" in message and "and 21 more" in message


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(model: torch.nn.Module, full: Weights, value: float) -> None:
    changed = dict(full)
    changed["image_encoder.neck.1.bias"] = changed["image_encoder.neck.1.bias"].clone()
    changed["image_encoder.neck.1.bias"][5] = value
    message = misfit(model, changed)
    assert "NaN or infinite" in message and "image_encoder.neck.1.bias" in message


@pytest.mark.parametrize(
    ("entries", "family"),
    [
        ({"image_encoder.pos_embed": (1, 64, 64, 768)}, "SAM ViT-B"),
        ({"image_encoder.pos_embed": (1, 64, 64, 1280)}, "SAM ViT-H"),
        ({"image_encoder.trunk.pos_embed": (1, 96, 7, 7), "sam_mask_decoder.x": (1,)}, "SAM 2"),
        ({"layer1.0.conv1.weight": (64, 64, 1, 1), "fc.weight": (1000, 2048)}, "a ResNet"),
        ({"vision_encoder.pos_embed": (1, 64, 64, 768)}, "Hugging Face"),
        ({"patch_embed.seq.0.c.weight": (32, 3, 3, 3)}, "a TinyViT image encoder alone"),
    ],
)
def test_another_models_checkpoint_is_named(
    model: torch.nn.Module, entries: dict[str, tuple[int, ...]], family: str
) -> None:
    message = misfit(model, {name: torch.zeros(shape) for name, shape in entries.items()})
    assert "another model's" in message and family in message


def test_an_unknown_models_checkpoint_lists_names(model: torch.nn.Module) -> None:
    message = misfit(model, {"encoder.stem.kernel": torch.from_numpy(np.zeros(3, np.float32))})
    assert "435 missing" in message and "1 unexpected: encoder.stem.kernel" in message
