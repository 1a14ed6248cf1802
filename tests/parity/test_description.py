"""What a file says of itself is the contract's: edits of it are named, right files stay silent."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from converters.lookup import combinations
from mobilesam.bundle.manifest import Manifest
from mobilesam.errors import BundleError
from mobilesam.runtimes.bundle import Bundle
from parity.description import READERS, description_differences
from parity.description.manifest import compared_fields
from parity.flatbuffer import root_of
from tests.parity import description_edits as edits
from tests.tiny_bundles import tiny_bundle


def said(bundle: Bundle, runtime: str | None = None) -> str:
    return "\n".join(description_differences(bundle, runtime or bundle.runtimes[0]))


@pytest.mark.slow
@pytest.mark.parametrize(("target", "scheme"), combinations())
def test_nothing_is_said_of_a_right_bundle(target: str, scheme: str) -> None:
    bundle = tiny_bundle(target, scheme)
    for runtime in bundle.runtimes:
        assert runtime in READERS
        assert said(bundle, runtime) == ""


def test_every_field_of_a_manifest_is_compared() -> None:
    assert compared_fields(tiny_bundle("torchscript").manifest) == {*Manifest.model_fields}


def _plan(content: bytearray) -> Any:
    return root_of(bytes(content)).tables(1)[0]


def _poke(kind: int, at: int, field: int, value: int) -> Callable[[bytearray], None]:
    """Write one byte of a scalar of the method's input (3) or output (4)."""

    def change(content: bytearray) -> None:
        plan = _plan(content)
        table = plan.tables(2)[plan.numbers(kind, "Int32")[at]].table(1)
        place = table._at(field)
        assert place, "the field is not in the file"
        content[table._table.Pos + place] = value

    return change


def _poke_vector(kind: int, at: int, field: int, item: int, size: int, value: int) -> Any:
    """Write one byte of a vector of the method's input (3) or output (4)."""

    def change(content: bytearray) -> None:
        plan = _plan(content)
        table = plan.tables(2)[plan.numbers(kind, "Int32")[at]].table(1)
        content[table._table.Vector(table._at(field)) + size * item] = value

    return change


def _swap_values(kind: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        plan = _plan(content)
        start = plan._table.Vector(plan._at(kind))
        first, second = content[start : start + 4], content[start + 4 : start + 8]
        content[start : start + 8] = second + first

    return change


def _replace(old: bytes, new: bytes) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        assert old in content and len(old) == len(new)
        content[:] = content.replace(old, new)

    return change


def _io(model: Any, at: int = 0) -> Any:
    graph = model.subgraphs[0]
    return graph.tensors[graph.inputs[at]]


def _rename_feature(spec: Any) -> None:
    spec.description.input[0].name = "picture"


def _image(spec: Any) -> None:
    image = spec.description.input[0].type.imageType
    image.width = image.height = 128
    image.colorSpace = 30  # BGR


def _set(path: str, value: Any) -> Callable[[Any], None]:
    """Set an attribute by its path, such as ``graph.input.0.name``."""

    def change(root: Any) -> None:
        *parents, last = path.split(".")
        for part in parents:
            root = root[int(part)] if part.isdigit() else getattr(root, part)
        if last.isdigit():
            root[int(last)] = value
        else:
            setattr(root, last, value)

    return change


_TENSOR = "description.input.0.type.multiArrayType"
_DIM = "graph.input.0.type.tensor_type.shape.dim.3"
COREML: dict[str, tuple[Callable[[Any], None], str]] = {
    "name": (_rename_feature, "input 'picture' is described"),
    "shape": (_set(f"{_TENSOR}.shape.3", 127), "input 'image' is described as float32"),
    "dtype": (_set(f"{_TENSOR}.dataType", 65552), "described as float16"),
    "double": (_set(f"{_TENSOR}.dataType", 65600), "described as float64"),
    "output dtype": (
        _set("description.output.0.type.multiArrayType.dataType", 131104),
        "output 'image_embeddings' is described as int32",
    ),
    "image": (_image, "ImageType BGR 128x128"),
    "optional": (_set("description.input.1.type.isOptional", True), "described as optional"),
    "version too low": (_set("specificationVersion", 6), "specification version is 6"),
    "version too high": (_set("specificationVersion", 9), "specification version is 9"),
    "flexible": (
        lambda spec: spec.description.input[1].type.multiArrayType.shapeRange.sizeRanges.add(
            lowerBound=1, upperBound=-1
        ),
        "described as shapeRange",
    ),
    "default value": (
        _set("description.input.1.type.multiArrayType.floatDefaultValue", 3.0),
        "default value",
    ),
    "dropped input": (lambda spec: spec.description.input.pop(1), "'valid_size' is not described"),
    "twice": (
        lambda spec: spec.description.input.add().CopyFrom(spec.description.input[0]),
        "described 2 times",
    ),
    "classifier": (_set("description.predictedFeatureName", "label"), "predictedFeatureName"),
    "metadata": (
        lambda spec: spec.description.metadata.userDefined.update({"component": "decoder"}),
        "metadata 'component' is 'decoder'",
    ),
}
ONNX: dict[str, tuple[Callable[[Any], object], str]] = {
    "name": (_set("graph.input.0.name", "picture"), "input 'picture' is described"),
    "shape": (_set(f"{_DIM}.dim_value", 127), "input 'image' is described as float32"),
    "free shape": (_set(f"{_DIM}.dim_param", "width"), "[1, 3, 128, ?]"),
    "dtype": (_set("graph.input.0.type.tensor_type.elem_type", 11), "described as float64"),
    "output shape": (
        _set("graph.output.0.type.tensor_type.shape.dim.1.dim_value", 3),
        "output 'image_embeddings' is described as",
    ),
    "output dtype": (_set("graph.output.0.type.tensor_type.elem_type", 10), "float16"),
    "opset": (_set("opset_import.0.version", 19), "opset is 19"),
    "foreign opset": (
        lambda model: model.opset_import.add(domain="com.microsoft", version=1),
        "operator set 'com.microsoft'",
    ),
    "opset twice": (
        lambda model: model.opset_import.add(domain="", version=20),
        "is imported 2 times",
    ),
    "IR": (_set("ir_version", 8), "IR version is 8"),
    "new IR": (_set("ir_version", 13), "IR version is 13"),
    "default value": (
        lambda model: model.graph.initializer.add(
            name="valid_size", data_type=1, dims=[2], raw_data=np.ones(2, np.float32).tobytes()
        ),
        "input 'valid_size' has a default value",
    ),
    "value info twice": (
        lambda model: model.graph.value_info.add().CopyFrom(model.graph.value_info[0]),
        "is there more than once",
    ),
    "wrong value info": (
        _set("graph.value_info.0.type.tensor_type.elem_type", 7),
        "does not stand ONNX's own check",
    ),
    "axes": (_set(f"{_DIM}.denotation", "row"), "axes of 'image' are denoted"),
    "graph name": (_set("graph.name", "decode"), "graph is named 'decode'"),
    "metadata": (
        lambda model: model.metadata_props.add(key="Image.BitmapPixelFormat", value="Bgr8"),
        "describes a picture",
    ),
}
TFLITE: dict[str, tuple[Callable[[Any], object], str]] = {
    "signature": (_set("signatureDefs.0.signatureKey", b"run"), "signatures run"),
    "input name": (_set("signatureDefs.0.inputs.0.name", b"picture"), "input 'picture'"),
    "swapped names": (
        lambda model: (
            _set("signatureDefs.0.inputs.0.tensorIndex", int(model.subgraphs[0].inputs[1]))(model),
            _set("signatureDefs.0.inputs.1.tensorIndex", int(model.subgraphs[0].inputs[0]))(model),
        ),
        "as if it were",
    ),
    "shared tensor": (
        lambda model: _set(
            "signatureDefs.0.inputs.1.tensorIndex", int(model.subgraphs[0].inputs[0])
        )(model),
        "share a tensor",
    ),
    "dtype": (lambda model: setattr(_io(model), "type", 2), "described as int32"),
    "shape": (lambda model: _io(model).shape.__setitem__(3, 127), "described as float32"),
    "shape signature": (
        lambda model: setattr(_io(model), "shapeSignature", [1, 3, -1, -1]),
        "shape signature",
    ),
    "quantized": (
        lambda model: vars(_io(model).quantization).update(scale=[0.5], zeroPoint=[3]),
        "described as quantized",
    ),
    "variable": (lambda model: setattr(_io(model), "isVariable", True), "a variable"),
    "schema": (_set("version", 2), "schema version is 2"),
    "operator version": (_set("operatorCodes.0.version", 0), "versions begin at 1"),
    "order": (
        lambda model: setattr(
            model.subgraphs[0], "inputs", [int(i) for i in model.subgraphs[0].inputs[::-1]]
        ),
        "in the order",
    ),
    "output": (
        lambda model: (
            model.subgraphs[0].outputs.__setitem__(0, int(model.subgraphs[0].inputs[0])),
            _set("signatureDefs.0.outputs.0.tensorIndex", int(model.subgraphs[0].inputs[0]))(model),
        ),
        "written by no operator",
    ),
    "min_runtime_version": (
        lambda model: setattr(model.buffers[model.metadata[0].buffer], "data", [0] * 16),
        "min_runtime_version",
    ),
}
EXECUTORCH: dict[str, tuple[Callable[[bytearray], None], str]] = {
    "dtype": (_poke(3, 0, 0, 7), "input 'image' is described as float64"),
    "output dtype": (_poke(4, 0, 0, 5), "output 'image_embeddings' is described as float16"),
    "shape": (_poke_vector(3, 0, 2, 3, 4, 64), "input 'image' is described as float32"),
    "output shape": (_poke_vector(4, 0, 2, 1, 4, 3), "output 'image_embeddings' is described"),
    "layout": (_poke_vector(3, 0, 3, 1, 1, 3), "lie in the order"),
    "order": (_swap_values(3), "input 'image' is described as float32 [2]"),
    "method": (_replace(b"encode\0", b"encore\0"), "no method 'encode'"),
    "delegate": (_replace(b"XnnpackBackend\0", b"CoremlyBackend\0"), "delegate is"),
    "identifier": (_replace(b"ET12", b"ET13"), "does not begin"),
}


class _Answer(torch.nn.Module):
    """Takes the encoder's inputs, and gives so many sides of an embedding."""

    def __init__(self, *sides: int, half: bool = False) -> None:
        super().__init__()
        self.sides, self.half_precision = sides, half

    def forward(self, image: torch.Tensor, valid_size: torch.Tensor) -> torch.Tensor:
        made = torch.ones(self.sides) * image.mean() + valid_size.mean()
        return made.half() if self.half_precision else made


def _asset(
    *sides: int, names: tuple[str, ...] = ("image", "valid_size"), half: bool = False,
    outputs: tuple[str, ...] = ("image_embeddings",), function: str = "encode",
) -> edits.FileEdit:  # fmt: skip
    module = _Answer(*(sides or (1, 32, 8, 8)), half=half)
    return edits.coreai(module, *names, outputs=outputs, function=function)


def _written(name: str, content: bytes) -> edits.FileEdit:
    def edit(path: Path) -> None:
        (path / name).write_bytes(content)

    return edit


COREAI: dict[str, tuple[edits.FileEdit, str]] = {
    "names": (_asset(names=("x", "valid_size")), "input 'x' is described"),
    "output name": (_asset(outputs=("x",)), "output 'x' is described"),
    "output shape": (_asset(1, 32, 8, 4), "output 'image_embeddings' is described as float32 [1,"),
    "output dtype": (_asset(half=True), "output 'image_embeddings' is described as float16"),
    "function": (_asset(function="main"), "no function 'encode', only main"),
    "component": (
        edits.coreai_facts(lambda m: m["creatorDefinedMetadata"].update(component="decoder")),
        "metadata 'component' is 'decoder'",
    ),
    "scheme": (
        edits.coreai_facts(lambda m: m["creatorDefinedMetadata"].update(scheme="w8")),
        "metadata 'scheme' is 'w8'",
    ),
    "version": (
        edits.coreai_facts(lambda m: m.update(assetVersion="1.0")),
        'Asset version "1.0" is not supported',
    ),
    "digest": (_written("main.hash", bytes(32)), "is damaged"),
    "stray file": (_written("main.odix", b"0"), "holds 'main.odix'"),
}
_BOTH = "def forward(self, image, valid_size):\n    return "
TORCHSCRIPT: dict[str, tuple[edits.FileEdit, str]] = {
    "names": (
        edits.torchscript("def forward(self, x, y):\n    return x"),
        "input 'x' is described",
    ),
    "order": (
        edits.torchscript("def forward(self, valid_size, image):\n    return image"),
        "in the order valid_size, image",
    ),
    "fewer": (edits.torchscript("def forward(self, image):\n    return image"), "'valid_size' is"),
    "outputs": (edits.torchscript(f"{_BOTH}image, valid_size"), "returns Tuple[Tensor, Tensor]"),
    "list": (edits.torchscript(f"{_BOTH}[image]"), "returns List[Tensor]"),
    "type": (
        edits.torchscript("def forward(self, image, valid_size: int):\n    return image"),
        "input 'valid_size' is a int",
    ),
    "metadata": (edits.facts(component="decoder"), "metadata 'component' is 'decoder'"),
    "scheme": (edits.facts(scheme="w8d"), "metadata 'scheme' is 'w8d'"),
}
FILES = [
    *(("coreml", name, edits.coreml(change), text) for name, (change, text) in COREML.items()),
    *(("onnx", name, edits.onnx(change), text) for name, (change, text) in ONNX.items()),
    *(("tflite", name, edits.tflite(change), text) for name, (change, text) in TFLITE.items()),
    *(
        ("executorch", name, edits.executorch(change), text)
        for name, (change, text) in EXECUTORCH.items()
    ),
    *(("coreai", name, edit, text) for name, (edit, text) in COREAI.items()),
    *(("torchscript", name, edit, text) for name, (edit, text) in TORCHSCRIPT.items()),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "edit", "text"),
    [pytest.param(t, edit, text, id=f"{t}-{name}") for t, name, edit, text in FILES],
)
def test_an_edit_of_a_file_is_named(
    target: str, edit: edits.FileEdit, text: str, tmp_path: Path
) -> None:
    bundle = edits.edited(tiny_bundle(target), tmp_path, "encoder", edit)
    assert bundle.altered() == []
    for runtime in bundle.runtimes:
        assert text in said(bundle, runtime)


@pytest.mark.slow
def test_a_module_in_training_mode_is_named(tmp_path: Path) -> None:
    bundle = edits.edited(
        tiny_bundle("torchscript"), tmp_path, "encoder", edits.torchscript(f"{_BOTH}image")
    )
    assert "in training mode" in said(bundle, "torchscript")


MANIFEST: dict[str, tuple[Callable[[edits.Manifest], object], str]] = {
    "label": (lambda m: m["labels"].update({"1": "background"}), "labels.1 is 'background'"),
    "no label": (lambda m: m["labels"].pop("-2"), "labels.-2 is missing"),
    "mean": (lambda m: m["preprocessing"].update(mean=[0.485, 0.456, 0.406]), "preprocessing.mean"),
    "std": (lambda m: m["preprocessing"]["std"].reverse(), "preprocessing.std"),
    "threshold": (lambda m: m["postprocessing"].update(threshold=0.5), "threshold is 0.5"),
    "colour": (lambda m: m["preprocessing"].update(colour="BGR"), "colour is 'BGR'"),
    "axes": (
        lambda m: m["signatures"]["encoder"]["inputs"][0]["axes"].reverse(),
        "signatures.encoder.inputs.image.axes",
    ),
    "image size": (lambda m: m.update(image_size=256), "signatures.encoder.inputs.image.shape"),
    "slots": (lambda m: m.update(slots=6), "point_coords.shape"),
    "variant": (lambda m: m.update(input_variant="normalized"), "signatures.encoder.inputs"),
    "dtype": (
        lambda m: m["signatures"]["decoder"]["outputs"][0].update(dtype="float16"),
        "low_res_masks.dtype is 'float16'",
    ),
    "meaning": (lambda m: m["scheme"].update(meaning="float16 weights"), "scheme.meaning"),
    "version": (lambda m: m.update(contract_version="1.7"), "contract_version is 1.7"),
    "size": (lambda m: m["files"][0].update(size_bytes=1), "the manifest says 1"),
    "twice": (lambda m: m["files"].append(m["files"][0]), "2 entries of the encoder"),
    "lacking": (
        lambda m: m["files"][-1].update(runtime="onnxruntime"),
        "files have no decoder for litert",
    ),
    "calibration": (lambda m: m.update(calibration={"photos": "9"}), "states a calibration"),
    "licence": (lambda m: m.update(licence="MIT"), "licence is 'MIT'"),
}


@pytest.mark.parametrize(("change", "text"), MANIFEST.values(), ids=MANIFEST)
def test_an_edit_of_a_manifest_is_named(
    change: Callable[[edits.Manifest], object], text: str, tmp_path: Path
) -> None:
    bundle = edits.edited(tiny_bundle("tflite"), tmp_path, "encoder", None, change)
    assert text in said(bundle)


def test_a_manifest_without_a_component_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no file of the decoder"):
        edits.edited(tiny_bundle("tflite"), tmp_path, "encoder", None, lambda m: m["files"].pop())


@pytest.mark.parametrize(
    "path",
    ["../encoder.tflite", "/etc/passwd", "a/../../b", "C:\\x.tflite", "C:x", "a\\b", "a\0b", ""],
)
def test_a_path_that_leaves_the_bundle_is_refused(path: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="a bundle's files lie in its own folder"):
        edits.edited(
            tiny_bundle("tflite"),
            tmp_path,
            "encoder",
            None,
            lambda m: m["files"][0].update(path=path),
        )


def test_files_may_be_links_to_a_store(tmp_path: Path) -> None:
    def link(path: Path) -> None:
        path.rename(tmp_path / "stored.tflite")
        path.symlink_to(tmp_path / "stored.tflite")

    bundle = edits.edited(tiny_bundle("tflite"), tmp_path, "encoder", link)
    assert bundle.altered() == [] and said(bundle, "litert") == ""
