"""Encoders distilled for a scheme, and whether they were told the rounding that the file has."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from converters import export, worker
from converters import session as session_module
from converters.base import Conversion
from converters.plan import Plan
from converters.schemes import MIXED
from converters.task import Task
from converters.tflite import convert as tflite
from converters.tflite.constants import shrink_constants
from converters.tflite.distilled import Distilled, read_distilled
from converters.tflite.names import path_at, scope_of
from converters.tflite.quantization import quantized
from converters.tflite.weights import plan_of, roundings_of
from mobilesam.bundle.manifest import Manifest
from mobilesam.errors import InputError
from mobilesam.files import sha256_of
from mobilesam.model.sam import MobileSAM
from mobilesam.runtimes.bundle import Bundle
from mobilesam.training.quantization import (
    fake_quantized,
    norm_scale,
    rounded_weight,
    run_quantized,
)
from mobilesam.weights.checkpoints import tensors_sha256
from tests.tiny_bundles import make_tiny_model, tiny_bundle, tiny_model, vit_bundle, vit_model

pytest.importorskip("ai_edge_quantizer")
flatbuffers = pytest.importorskip("ai_edge_litert.tools.flatbuffer_utils")

GetBundle = Callable[[str, str], Bundle]
ABOUT = {"scheme": "w4", "teacher_sha256": tensors_sha256(tiny_model().state_dict())}


def tuned_model() -> MobileSAM:
    """The tiny model with another image encoder."""
    model = make_tiny_model()
    torch.manual_seed(0)
    for parameter in model.image_encoder.parameters():
        parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
    return model


def written(path: Path, model: MobileSAM, about: dict[str, str]) -> Path:
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, path, about)
    return path


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> dict[str, nn.Module]:
    """What converters are given from here on, by component; the files that they write are empty."""
    seen: dict[str, nn.Module] = {}

    def convert(job: Conversion) -> None:
        seen[job.component] = job.module
        job.path(".tflite").touch()

    def convert_here(task: Task, scratch: Path, cancelled: Callable[[], bool]) -> None:
        assert worker.run(task).error is None

    monkeypatch.setattr(tflite, "convert", convert)
    monkeypatch.setattr(tflite, "read_io", lambda path, job: ((), ()))
    monkeypatch.setattr(worker, "check_io", lambda *io: None)
    monkeypatch.setattr(session_module, "convert_in_process", convert_here)
    return seen


def weights_in(content: bytes) -> dict[str, np.ndarray]:
    """Every integer weight of a file times its scales, by the path of its layer."""
    model = flatbuffers.read_model_from_bytearray(bytearray(content))
    tensors = model.subgraphs[0].tensors
    found = {}
    for tensor in tensors:
        kind = flatbuffers.type_to_name(tensor.type)
        data = model.buffers[tensor.buffer].data
        if kind not in ("INT4", "INT8") or data is None:
            continue
        raw = np.frombuffer(bytes(data), np.int8)
        if kind == "INT4":  # two to a byte, the first in the low half
            raw = np.stack([raw << 4 >> 4, raw >> 4], axis=1).ravel()
        values = raw[: np.prod(tensor.shape)].reshape(tensor.shape).astype(np.float32)
        block = getattr(tensor.quantization.details, "blockSize", 0)
        if block:
            stored = tensors[tensor.quantization.details.scales]
            scales = np.frombuffer(bytes(model.buffers[stored.buffer].data), np.float16)
            scaled = values.reshape(-1, block) * scales.astype(np.float32)[:, None]
        else:
            axis = tensor.quantization.quantizedDimension
            scales = np.asarray(tensor.quantization.scale, np.float32)
            scaled = values * scales.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        steps = scope_of(tensor.name.decode())
        path = [re.sub(r"_(?=\d+$)", "", s) for s in steps if s not in ("module", "image_encoder")]
        found[".".join(path)] = scaled.reshape(tensor.shape)
    return found


def weights_of(encoder: nn.Module, plan: Plan) -> dict[str, np.ndarray]:
    """The same of an encoder, rounded as training rounds it, laid out as in a file."""
    found = {}
    for name, rounding in roundings_of(encoder, plan).items():
        weight = rounded_weight(encoder, name, rounding)
        if rounding.norm:
            weight = weight * norm_scale(encoder.get_submodule(rounding.norm))
        array = weight.detach().numpy()
        if array.ndim == 4:
            depthwise = array.shape[1] == 1
            array = array.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
        layer = rounding.norm or name.removesuffix(".weight")  # what is folded in names it
        found[".".join(path_at(encoder, layer))] = array
    return found


@pytest.mark.parametrize(
    ("precision", "kinds"),
    [("w8", {(8, 0)}), ("w4", {(8, 0), (4, 32)}), ("w4c", {(8, 0), (4, 0)})],
)
@pytest.mark.parametrize(
    ("model", "exported", "layers"),
    [(tiny_model, tiny_bundle, 31), (vit_model, vit_bundle, 15)],
    ids=["TinyViT", "ViT"],
)
def test_fake_quantization_is_what_the_file_holds(
    precision: str,
    kinds: set[tuple[int, int]],
    model: Callable[[], MobileSAM],
    exported: GetBundle,
    layers: int,
) -> None:
    encoder, plan = model().image_encoder, Plan(target="tflite", default=precision)
    content = exported("tflite", "fp32").file("encoder", "litert").read_bytes()
    wanted = weights_in(quantized(shrink_constants(content), plan))
    found = weights_of(encoder, plan)
    assert len(found) == layers and found.keys() == wanted.keys()
    roundings = roundings_of(encoder, plan).values()
    if precision == "w4c" and model is vit_model:
        kinds = {(4, 0)}  # it has no depthwise convolutions, which alone keep eight bits there
    assert {(r.bits, r.block) for r in roundings} == kinds and any(r.norm for r in roundings)
    for name, weight in found.items():
        np.testing.assert_allclose(weight, wanted[name], rtol=1e-5, atol=1e-7, err_msg=name)


def test_a_plan_is_followed_group_by_group() -> None:
    group = "AttentionStage2.TinyViTBlock0"
    plan = Plan(target="tflite", default="float", groups={group: "w8d"})
    names = {f"layers.2.blocks.0.{layer}.weight" for layer in (
        "attn.qkv", "attn.proj", "local_conv.c", "mlp.fc1", "mlp.fc2")}  # fmt: skip
    assert roundings_of(tiny_model().image_encoder, plan).keys() == names


def test_gradients_go_straight_through() -> None:
    torch.manual_seed(0)
    weight = torch.randn(6, 64, requires_grad=True)
    for bits, block, levels in ((4, 32, 16), (8, 0, 255)):
        rounded = fake_quantized(weight, bits, block)
        assert 4 < len(rounded[0].unique()) <= (64 // block if block else 1) * levels
        step = weight.detach().abs().max() / (2 ** (bits - 1) - 1)
        assert 0 < (rounded - weight).abs().max() < 0.51 * step
        factor = torch.randn(6, 64)
        (gradient,) = torch.autograd.grad((rounded * factor).sum(), weight)
        assert torch.equal(gradient, factor)
    assert torch.equal(fake_quantized(torch.zeros(2, 32), 4, 32), torch.zeros(2, 32))


def test_rounding_changes_answers_but_not_the_module() -> None:
    encoder = make_tiny_model().image_encoder
    before = tensors_sha256(encoder.state_dict())
    image = torch.rand(1, 3, 64, 64)
    roundings = roundings_of(encoder, plan_of("w4"))
    error = run_quantized(encoder, roundings, image) - encoder(image)
    assert 1e-4 < error.norm() / encoder(image).norm() < 0.5
    assert torch.equal(run_quantized(encoder, {}, image), encoder(image))
    assert tensors_sha256(encoder.state_dict()) == before


def test_the_bundle_is_the_teachers_with_the_encoder_of_the_file(
    tmp_path: Path, converted: dict[str, nn.Module]
) -> None:
    file = written(tmp_path / "tuned.safetensors", tuned_model(), ABOUT)
    model = tiny_model()

    def exported(distilled: Path | None) -> tuple[bool, Manifest]:
        (result,) = export(
            model,
            targets="tflite",
            schemes="w4",
            out=tmp_path,
            distilled=distilled,
            progress=False,
        )
        return result.skipped, Bundle(result.path).manifest

    skipped, manifest = exported(file)
    assert not skipped and manifest.weights.sha256 == ABOUT["teacher_sha256"]
    assert manifest.options == {"distilled": file.name, "distilled_sha256": sha256_of(file)}
    for component, other in (("encoder", tuned_model()), ("decoder", model)):
        for name, parameter in converted[component].named_parameters():
            assert torch.equal(parameter, other.get_parameter(name)), name
    assert exported(file) == (True, manifest)
    skipped, plain = exported(None)
    assert not skipped and plain.options == {} and plain.export_key != manifest.export_key
    written(file, model, ABOUT)
    skipped, again = exported(file)
    assert not skipped and again.export_key not in (plain.export_key, manifest.export_key)


def test_what_was_not_distilled_for_it_is_refused(tmp_path: Path) -> None:
    model, sha256 = tiny_model(), ABOUT["teacher_sha256"]
    path = tmp_path / "a.safetensors"
    with pytest.raises(InputError, match="there is no file of distilled weights at"):
        read_distilled(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="does not say which scheme it was distilled for"):
        read_distilled(path)
    found = read_distilled(written(path, tuned_model(), ABOUT))
    own = ("tflite", "w4")
    for target, scheme in (("tflite", "fp32"), ("tflite", "w8d"), ("coreml", "w4")):
        with pytest.raises(InputError, match=f"rounds them, which {target} {scheme} does not"):
            found.tuned(model, sha256, [own, (target, scheme)])
    decoders = {"MLP0": "w8d", "neck.Conv2d0": "w8d"}  # where w4 has int8 too
    plan = Plan(target="tflite", default="w4", groups=decoders)
    assert found.tuned(model, sha256, [("tflite", MIXED)], plan).image_encoder is not None
    plan = Plan(target="tflite", default="w4", groups={"AttentionStage1.TinyViTBlock0": "w8d"})
    with pytest.raises(InputError, match="which tflite mixed does not"):
        found.tuned(model, sha256, [("tflite", MIXED)], plan)
    with pytest.raises(InputError, match="unknown precision 'w3' of target tflite"):
        roundings_of(model.image_encoder, Plan(target="tflite", default="w3"))
    with pytest.raises(InputError, match="distilled from weights .* give --weights its teacher"):
        found.tuned(model, "0" * 64, [own])
    name = "image_encoder.neck.0.weight"
    for state, said in (
        ({**found.state, name: torch.zeros(3)}, f"1 of the wrong shape: {name}"),
        ({k: v for k, v in found.state.items() if k != name}, f"1 missing: {name}"),
        ({**found.state, name: found.state[name] * torch.nan}, "NaN or infinite"),
    ):
        with pytest.raises(InputError, match=f"'a.safetensors' does not fit the model: .*{said}"):
            Distilled(found.record, "w4", sha256, state).tuned(model, sha256, [own])
    for scheme in ("fp32", "w3"):
        with pytest.raises(InputError, match=f"'{scheme}' is no quantized scheme of target tflite"):
            plan_of(scheme)
