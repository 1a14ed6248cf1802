"""A model's weights, found wherever they lie in a checkpoint file, and nothing in it executed."""

import argparse
import collections
import datetime
import enum
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mobilesam.errors import CheckpointError
from mobilesam.weights.checkpoints import load_state_dict, tensors_sha256

Weights = dict[str, torch.Tensor]

MODEL: Weights = {
    "image_encoder.layers.1.attn.qkv.weight": torch.linspace(-1, 1, 6).reshape(3, 2),
    "image_encoder.layers.1.attn.qkv.bias": torch.tensor([0.5, 1.5, 2.5]),
    "image_encoder.neck.bn.weight": torch.tensor([1.0, 2.0]),
    "image_encoder.neck.bn.num_batches_tracked": torch.tensor(7),
    "prompt_encoder.no_mask.weight": torch.tensor([[3.0]]),
    "mask_decoder.head.weight": torch.tensor([[4.0, 5.0]]),
    "mask_decoder.head.bias": torch.tensor([6.0]),
}
"""In the place of MobileSAM's 435 entries."""

OTHER: Weights = {n: t * 2 if t.is_floating_point() else t for n, t in MODEL.items()}
MEAN = {"pixel_mean": (123.675, 116.28, 103.53)}


def read(path: str | Path, **options: Any) -> tuple[Weights, Any]:
    return load_state_dict(path, wanted=MODEL, constants=MEAN, **options)


def saved(folder: Path, content: object, name: str = "weights.pt", **options: Any) -> Path:
    torch.save(content, folder / name, **options)
    return folder / name


def prefixed(prefix: str, weights: Weights = MODEL) -> Weights:
    return {prefix + name: tensor for name, tensor in weights.items()}


def wrapped(wrapper: str, *modules: str) -> Weights:
    """The weights with a wrapper below each of some modules."""
    renamed = {}
    for name, tensor in MODEL.items():
        for module in modules:
            if name.startswith(f"{module}."):
                name = f"{module}.{wrapper}.{name.removeprefix(f'{module}.')}"
        renamed[name] = tensor
    return renamed


def assert_model(found: Weights, expected: Weights = MODEL) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=0)


def refused(path: str | Path, **options: Any) -> str:
    with pytest.raises(CheckpointError) as caught:
        read(path, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Own:
    """A class that whoever reads the file does not have."""

    def __init__(self, **inner: object) -> None:
        self.inner = inner


class Kind(enum.Enum):
    A = 1


OBJECTS: dict[str, object] = {
    "epoch": 3,
    "best": np.float64(0.7),
    "array": np.ones(3),
    "args": argparse.Namespace(lr=0.1, out=Path("runs")),
    "path": Path("runs"),
    "when": datetime.datetime(2026, 1, 1),
    "own": Own(a=1),
    "kind": Kind.A,
    "counts": collections.Counter("aab"),
    "lists": collections.defaultdict(list, {"a": [1]}),
    "queue": collections.deque([1, 2]),
    "set": {1, 2},
    "complex": 1j,
    "dtype": np.dtype("float32"),
    "random": np.random.get_state(),
    "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1}]},
}

LOSSES: Weights = {"criterion.weight": torch.ones(2), "metrics.iou": torch.ones(1)}

WHERE: dict[str, object] = {
    "Lightning": {"state_dict": prefixed("net.") | LOSSES, "epoch": 3, "hyper": OBJECTS["args"]},
    **{
        f"prefix {prefix}": prefixed(prefix) | LOSSES
        for prefix in ("net.", "sam_model.", "_orig_mod.module.", "a.b.c.", "0.", "image_encoder2.")
    },
    "a submodule's wrapper": wrapped("module", "image_encoder"),
    "each its own wrapper": wrapped("_orig_mod", "image_encoder", "mask_decoder"),
    "wrappers of wrappers": wrapped("_orig_mod.module", "image_encoder"),
    "a wrapper deep within": wrapped("_checkpoint_wrapped_module", "image_encoder.layers.1"),
    "a wrapper of one layer": wrapped("inner", "mask_decoder.head"),
    **{
        f"container {name}": {name: MODEL, "iteration": 5}
        for name in ("net", "network", "params", "weights", "student", "module", "whatever")
    },
    "containers at depth": {"a": [{"b": ({"c": prefixed("module.")},)}]},
    "a part at a time": {
        part: {n.removeprefix(f"{part}."): t for n, t in MODEL.items() if n.startswith(part)}
        for part in ("image_encoder", "prompt_encoder", "mask_decoder")
    },
    "in an object": {"trainer": Own(state={"model": MODEL})},
    "other objects": {"model": MODEL, **OBJECTS},
    "parameters": {n: torch.nn.Parameter(t, False) for n, t in MODEL.items()},
    "buffers": prefixed("sam.")
    | {
        "sam.pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1),
        "sam.image_encoder.layers.1.attn.ab": torch.ones(4, 9, 9),
        "sam.image_encoder.layers.1.attn.attention_bias_idxs": torch.ones(9, 9, dtype=torch.int64),
    },
    "the mean on another scale": MODEL | {"pixel_mean": torch.tensor([0.485, 0.456, 0.406])},
    "floating counters": MODEL | {"image_encoder.neck.bn.num_batches_tracked": torch.tensor(7.0)},
    "the unused classifier": MODEL | {"image_encoder.head.weight": torch.ones(3)},
}


@pytest.mark.parametrize("where", WHERE)
def test_found_wherever_they_lie(tmp_path: Path, where: str) -> None:
    found, info = read(saved(tmp_path, WHERE[where]))
    assert_model(found)
    assert info.sha256 == tensors_sha256(MODEL) and info.key == ""


@pytest.mark.parametrize(
    "options",
    [
        {"_use_new_zipfile_serialization": False},
        {"pickle_protocol": 4},
        {"pickle_protocol": 5, "_use_new_zipfile_serialization": False},
    ],
)
def test_in_every_form_of_pytorchs(tmp_path: Path, options: dict[str, Any]) -> None:
    half = {name: tensor.bfloat16() for name, tensor in MODEL.items()}
    for weights in (MODEL, half):
        expected = {n: t.float() if t.is_floating_point() else t for n, t in weights.items()}
        expected["image_encoder.neck.bn.num_batches_tracked"] = torch.tensor(7)
        assert_model(read(saved(tmp_path, {"net": weights, **OBJECTS}, **options))[0], expected)


def test_shared_and_strided_tensors(tmp_path: Path) -> None:
    whole = torch.arange(20.0)
    name = "image_encoder.layers.1.attn.qkv.weight"
    views = MODEL | {name: whole[3:9].view(2, 3).t(), "mask_decoder.head.bias": whole[8:9]}
    for zipped in (True, False):
        path = saved(tmp_path, views, _use_new_zipfile_serialization=zipped)
        assert_model(read(path)[0], views)


def test_in_a_plain_pickle_and_in_safetensors(tmp_path: Path) -> None:
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps({"net": MODEL, **OBJECTS}))
    assert_model(read(tmp_path / "weights.pkl")[0])
    save_file(prefixed("net.") | LOSSES, tmp_path / "weights.safetensors")
    assert_model(read(tmp_path / "weights.safetensors")[0])


def test_in_a_pickled_module(tmp_path: Path) -> None:
    root = torch.nn.Module()
    for name, tensor in MODEL.items():
        *parts, last = name.split(".")
        place = root
        for part in parts:
            if not hasattr(place, part):
                place.add_module(part, torch.nn.Module())
            place = getattr(place, part)
        place.register_buffer(last, tensor)
    assert_model(read(saved(tmp_path, root))[0])
    assert_model(read(saved(tmp_path, {"ema": root, "epoch": 1}))[0])


def test_counters_may_be_missing(tmp_path: Path) -> None:
    bare = {n: t for n, t in MODEL.items() if not n.endswith("num_batches_tracked")}
    found, _ = read(saved(tmp_path, prefixed("net.", bare)))
    zero = {"image_encoder.neck.bn.num_batches_tracked": torch.tensor(0)}
    assert_model(found, MODEL | zero)


NEAR = {
    "an entry is missing": {n: t for n, t in MODEL.items() if n != "mask_decoder.head.bias"},
    "a shape differs": MODEL | {"mask_decoder.head.bias": torch.ones(2)},
    "an adapter": MODEL | {"image_encoder.layers.1.attn.qkv.lora_A.weight": torch.ones(1, 2)},
    "a further layer": MODEL | {"mask_decoder.extra.weight": torch.ones(2)},
    "halves of two models": {
        "one": {n: t for n, t in MODEL.items() if n.startswith("image_encoder")},
        "two": {n: t for n, t in MODEL.items() if not n.startswith("image_encoder")},
    },
}


@pytest.mark.parametrize("fault", NEAR)
def test_what_does_not_fit_is_not_taken(tmp_path: Path, fault: str) -> None:
    found, _ = read(saved(tmp_path, NEAR[fault]))
    fits = found.keys() == MODEL.keys() and all(found[n].shape == t.shape for n, t in MODEL.items())
    assert not fits


def test_weights_for_another_input_are_refused(tmp_path: Path) -> None:
    message = refused(saved(tmp_path, MODEL | {"pixel_mean": torch.tensor([127.5] * 3)}))
    assert "another pixel_mean (127.5, 127.5, 127.5)" in message


# Several sets


@pytest.mark.parametrize(
    ("raw", "average"),
    [
        ("model", "model_ema"),
        ("state_dict", "state_dict_ema"),
        ("model", "ema.module"),
        ("online_model", "ema_model"),
        ("net", "swa"),
    ],
)
def test_an_average_is_taken_and_said(
    tmp_path: Path, raw: str, average: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = saved(tmp_path, prefixed(f"{raw}.", OTHER) | prefixed(f"{average}."))
    found, info = read(path)
    assert_model(found)
    assert info.key == average
    (said,) = caplog.messages
    assert said == (
        f"took the 7 tensors under '{average}' of 'weights.pt', a moving average, "
        f"and not those under '{raw}' (--weights-key chooses)"
    )
    chosen, info = read(f"{path}#{raw}")
    assert_model(chosen, OTHER)
    assert info.key == raw and info.source == str(path)


def test_an_average_beside_weights_at_the_top(tmp_path: Path) -> None:
    path = saved(tmp_path, OTHER | {"ema": MODEL})
    assert_model(read(path)[0])
    assert_model(read(f"{path}#.")[0], OTHER)


def test_where_no_rule_decides_a_key_is_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path, {"student": MODEL, "teacher": OTHER})
    message = refused(path)
    assert "2 different complete sets of weights, under 'student' and 'teacher'" in message
    assert "--weights-key" in message
    assert_model(read(f"{path}#teacher")[0], OTHER)
    assert_model(read(path, sha256=tensors_sha256(OTHER))[0], OTHER)
    assert "under 'pupil', but under 'student' and 'teacher'" in refused(f"{path}#pupil")


def test_a_key_may_name_what_holds_the_set(tmp_path: Path) -> None:
    both = {"a": {"net": prefixed("module.")}, "b": {"net": prefixed("module.", OTHER)}}
    path = saved(tmp_path, both)
    assert_model(read(f"{path}#b")[0], OTHER)


def test_the_same_weights_twice_are_no_choice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert_model(read(saved(tmp_path, {"model": MODEL, "model_without_ddp": dict(MODEL)}))[0])
    assert "chooses" not in caplog.text


def test_a_file_may_have_the_mark_in_its_name(tmp_path: Path) -> None:
    assert_model(read(saved(tmp_path, MODEL, "run#3.pt"))[0])


def test_what_is_left_out_is_said_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read(saved(tmp_path, {"state_dict": prefixed("net.") | LOSSES, "epoch": 3, "args": Own(a=1)}))
    assert caplog.messages == [
        "took the 7 tensors under 'state_dict.net' of 'weights.pt'; "
        "left out state_dict.criterion, state_dict.metrics, epoch and 1 more"
    ]
    caplog.clear()
    read(saved(tmp_path, MODEL | {"image_encoder.head.weight": torch.ones(3)}))
    assert caplog.messages == []


# Nothing is executed


class Calls:
    """Unpickled, it calls something."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_file_names_is_not_called(tmp_path: Path, zipped: bool) -> None:
    trace = tmp_path / "executed"
    harmless = {"touch": Calls(Path.touch, trace), "eval": Calls(getattr, trace, "name")}
    path = saved(tmp_path, {"model": MODEL, **harmless}, _use_new_zipfile_serialization=zipped)
    assert_model(read(path)[0])
    assert not trace.exists()
    pickle.loads(pickle.dumps(harmless["touch"]))  # an ordinary unpickler does call it
    assert trace.exists()


@pytest.mark.parametrize("function", [eval, exec, compile, __import__, open])
def test_what_no_honest_file_names_is_refused(tmp_path: Path, function: Callable) -> None:
    message = refused(saved(tmp_path, {"model": MODEL, "x": Calls(function, "1")}))
    assert "would execute code" in message and function.__name__ in message


def test_a_file_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    nested: list = []
    for _ in range(40):
        nested = [nested, nested]
    assert "million entries" in refused(saved(tmp_path, {"model": MODEL, "x": nested}))
    own: dict[str, object] = {"model": MODEL}
    own["self"] = own
    assert_model(read(saved(tmp_path, own))[0])


def test_a_storage_that_is_too_short_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, MODEL)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(tmp_path / "cut.pt", "w") as cut:
        for name in whole.namelist():
            cut.writestr(
                name, whole.read(name)[:4] if name.endswith("data/0") else whole.read(name)
            )
    assert "truncated or damaged" in refused(tmp_path / "cut.pt")


# What is no checkpoint


KINDS = {
    "model.pte": (b"\x3c\0\0\0ET12eh00" + bytes(60), "an ExecuTorch program"),
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(60), "a TensorFlow Lite model"),
    "model.onnx": (b"\x08\x0a\x12\x07pytorch\x1a\x032.1", "an ONNX model"),
    "model.mlmodel": (b"\x08\x07\x12\x94\x0b\x0a\x75\x0a\x10image", "a Core ML model"),
    "page.pt": (b" \n<!DOCTYPE html><html>", "a web page"),
    "upper.safetensors": (b"<HTML><HEAD>", "a web page"),
    "denied.pt": (b"<?xml version='1.0'?><Error/>", "an XML document"),
    "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "a Git LFS pointer"),
    "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    "photo.jpg": (b"\xff\xd8\xff\xe0" + bytes(20), "a JPEG image"),
    "weights.pt.gz": (b"\x1f\x8b\x08" + bytes(20), "a gzip archive"),
    "config.json": (b'{"a": 1}', "a JSON file"),
    "notes.pt": (b"some notes", "a text file"),
}


@pytest.mark.parametrize("name", KINDS)
def test_other_files_are_called_what_they_are(tmp_path: Path, name: str) -> None:
    content, kind = KINDS[name]
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert f"is not a checkpoint but {kind}" in message
    assert "a .pt, .pth or .safetensors file is needed" in message


ARCHIVES = {
    ("readme.txt",): "a zip file;",
    ("weights/mobile_sam.pt",): "with 'weights/mobile_sam.pt' in it; unpack it first",
    ("a.npy", "b.npy"): "an archive of NumPy arrays",
    ("x.mlpackage/Manifest.json",): "a Core ML package",
    ("m/models/model.json", "m/archive_format"): "a program of torch.export",
    ("m/constants.pkl", "m/data.pkl"): "a TorchScript program",
}


@pytest.mark.parametrize("names", ARCHIVES)
def test_other_zip_files_are_called_what_they_are(tmp_path: Path, names: tuple[str, ...]) -> None:
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    assert ARCHIVES[names] in refused(tmp_path / "weights.pt")


def test_folders_are_called_what_they_are(tmp_path: Path) -> None:
    package = tmp_path / "encoder.mlpackage"
    package.mkdir()
    assert "a Core ML package" in refused(package)
    saved(tmp_path, MODEL, "weights.pt")
    assert "a directory, with 'weights.pt' in it" in refused(tmp_path)
