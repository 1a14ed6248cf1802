"""What a Core ML package says of itself: the features that Xcode shows, and its MIL program."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coreml_evaluator.interface import flexible_of
from coreml_evaluator.reading import quiet
from mobilesam.bundle.manifest import FileRecord, Manifest
from mobilesam.bundle.paths import path_problem
from parity.description.records import IMAGE, Description, Function, Tensor, UnreadableError

SPEC_VERSIONS = {"CoreML5": 6, "CoreML6": 7, "CoreML7": 8, "CoreML8": 9, "CoreML9": 10}
"""The version of the file format that came with each of MIL's operator sets.
Source: coremltools, ``_SPECIFICATION_VERSION_IOS_*`` and ``_OPSET``."""

IOS_VERSIONS = {"iOS16": 7, "iOS17": 8, "iOS18": 9}
"""The version of the file format that each of our deployment targets reads."""

_DTYPES = {"DOUBLE": "float64"}
_LABELS = ("predictedFeatureName", "predictedProbabilitiesName", "trainingInput", "state")
_MOST_SIZES = 4096
_FLEXIBLE = {"range": "shapeRange", "enumerated": "enumeratedShapes"}


def read(path: Path, record: FileRecord, manifest: Manifest) -> Description:
    """Read a package.

    Raises:
        UnreadableError: it is damaged, no ML Program, or lacks the component's function.
    """
    spec = _specification(path)
    description = spec.description
    functions = spec.mlProgram.functions
    name = record.function or "main"
    if name not in functions:
        raise UnreadableError(f"the program has no function '{name}', only {_listed(functions)}")
    own = [each for each in description.functions if each.name == name] or [description]
    problems = [
        *_problems_of_package(path),
        *_problems_of_spec(spec, record, manifest),
        *(p for feature in (*own[0].input, *own[0].output) for p in _problems(feature, manifest)),
        *_problems_of_weights(path, functions[name]),
    ]
    return Description(
        described=Function(
            tuple(_tensor(feature) for feature in own[0].input),
            tuple(_tensor(feature) for feature in own[0].output),
        ),
        program=_program(functions[name]),
        facts=dict(description.metadata.userDefined),
        problems=tuple(problems),
    )


def _specification(path: Path) -> Any:
    with quiet():
        import coremltools as ct

        spec = ct.models.MLModel(str(path), skip_model_load=True).get_spec()
    kind = spec.WhichOneof("Type")
    if kind != "mlProgram":
        raise UnreadableError(f"the model is of Core ML's kind '{kind}', not an ML Program")
    return spec


def _tensor(feature: Any) -> Tensor:
    kind, meaning = feature.type.WhichOneof("Type"), feature.shortDescription
    if kind == "imageType":
        image = feature.type.imageType
        layout = image.ColorSpace.Name(image.colorSpace)
        shape = (1, 3, image.height, image.width)
        return Tensor(feature.name, f"{IMAGE} {layout}", (shape,), meaning)
    if kind != "multiArrayType":
        return Tensor(feature.name, str(kind), (), meaning)
    array = feature.type.multiArrayType
    dtype = array.ArrayDataType.Name(array.dataType)
    return Tensor(feature.name, _DTYPES.get(dtype, dtype.lower()), _shapes(array), meaning)


def _shapes(array: Any) -> tuple[tuple[int, ...], ...]:
    """Every shape that a described array may have; none where they are too many to be a slot's."""
    flexible = flexible_of(array)
    if flexible is None:
        return (tuple(array.shape),)
    spans = [high - low + 1 for low, high in flexible.bounds]
    if any(span < 1 for span in spans) or math.prod(spans) > _MOST_SIZES:
        return ()
    return tuple(sorted(flexible.every()))


def _program(function: Any) -> Function:
    """Inputs and outputs of a MIL function; those are values of its block's operations."""
    block = function.block_specializations[function.opset]
    inputs = tuple(_value(value) for value in function.inputs)
    made = {v.name: _value(v) for operation in block.operations for v in operation.outputs}
    made |= {tensor.name: tensor for tensor in inputs}
    return Function(inputs, tuple(made[name] for name in block.outputs if name in made))


def _value(value: Any) -> Tensor:
    tensor = value.type.tensorType
    from coremltools.proto.MIL_pb2 import DataType

    shape = tuple(
        int(side.constant.size) if side.WhichOneof("dimension") == "constant" else None
        for side in tensor.dimensions
    )
    return Tensor(value.name, DataType.Name(tensor.dataType).lower(), (shape,))


def _problems(feature: Any, manifest: Manifest) -> Iterator[str]:
    """What is wrong with one described feature beside its shapes and its dtype."""
    if feature.type.isOptional:
        yield f"feature '{feature.name}' is described as optional, the contract needs it"
    kind = feature.type.WhichOneof("Type")
    if kind == "imageType" and feature.type.imageType.WhichOneof("SizeFlexibility"):
        yield f"image '{feature.name}' is described as of flexible size, the program takes one"
    if kind != "multiArrayType":
        return
    array = feature.type.multiArrayType
    if array.WhichOneof("defaultOptionalValue"):
        yield f"feature '{feature.name}' is described with a default value, it has none"
    flexibility = array.WhichOneof("ShapeFlexibility")
    specs = {s.name: s for s in (i for c in manifest.signatures.values() for i in c.inputs)}
    counts = specs[feature.name].slot_counts if feature.name in specs else ()
    meant = _FLEXIBLE.get(manifest.options.get("slots", "fixed")) if counts else None
    if flexibility != meant:
        yield (
            f"shape of '{feature.name}' is described as {flexibility or 'fixed'}, the manifest "
            f"says {meant or 'fixed'}"
        )
    elif flexibility and tuple(array.shape) != specs[feature.name].shape:
        yield (
            f"default shape of '{feature.name}' is {list(array.shape)}, the contract says "
            f"{list(specs[feature.name].shape)}"
        )


def _problems_of_spec(spec: Any, record: FileRecord, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the package as a whole."""
    description, functions = spec.description, spec.mlProgram.functions
    version = int(spec.specificationVersion)
    meant = manifest.options.get("minimum_deployment_target", "")
    if meant not in IOS_VERSIONS:
        yield f"manifest's minimum_deployment_target '{meant}' is none of {_listed(IOS_VERSIONS)}"
    elif version != IOS_VERSIONS[meant]:
        yield f"specification version is {version}, {meant} reads {IOS_VERSIONS[meant]}"
    for name, function in functions.items():
        needed = SPEC_VERSIONS.get(function.opset)
        if needed is None or version < needed:
            yield (
                f"specification version is {version}, the operator set '{function.opset}' of "
                f"function '{name}' needs {needed or 'one that is not known'}"
            )
        if function.opset not in function.block_specializations:
            yield f"function '{name}' has no block for its operator set '{function.opset}'"
    several = bool(record.function)
    if several != (manifest.options.get("package") == "multifunction"):
        yield f"manifest says package '{manifest.options.get('package')}' and function '" + (
            f"{record.function}'"
        )
    described = [each.name for each in description.functions]
    wanted = sorted(s.name for s in manifest.signatures.values()) if several else ["main"]
    if sorted(functions) != wanted:
        yield f"program has the functions {_listed(functions)}, wanted {_listed(wanted)}"
    if sorted(described) != (wanted if several else []):
        yield f"functions described are {_listed(described)}, the program has {_listed(functions)}"
    default = manifest.signatures["encoder"].name if several else ""
    if description.defaultFunctionName != default:
        yield f"default function is '{description.defaultFunctionName}', not '{default}'"
    if spec.isUpdatable:
        yield "model is described as updatable, it is not"
    for field in _LABELS:
        if getattr(description, field):
            yield f"description has a {field}, a program of tensors has none"


def _problems_of_package(path: Path) -> Iterator[str]:
    """Paths in the package's own manifest that leave it or lead to nothing."""
    with (path / "Manifest.json").open(encoding="utf-8") as file:
        entries = json.load(file)["itemInfoEntries"].values()
    for entry in entries:
        problem = path_problem(entry["path"])
        if problem:
            yield f"path '{entry['path']}' in the package's Manifest.json {problem}"
        elif not (path / "Data" / entry["path"]).exists():
            yield f"path '{entry['path']}' in the package's Manifest.json leads to nothing"


def _problems_of_weights(path: Path, function: Any) -> Iterator[str]:
    """Files that the program's constants lie in, outside of the package."""
    names = {
        attribute.blobFileValue.fileName
        for block in function.block_specializations.values()
        for operation in block.operations
        for attribute in operation.attributes.values()
        if attribute.WhichOneof("value") == "blobFileValue"
    }
    for name in sorted(names - {"@model_path/weights/weight.bin"}):
        yield f"file of constants '{name}' is not the package's own, @model_path/weights/weight.bin"


def _listed(names: Any) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
