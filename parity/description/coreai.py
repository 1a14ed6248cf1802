"""What a Core AI asset says of itself: what Xcode is told of it, and its program's own types."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import coreai.authoring as authoring

from converters.coreai.convert import SYSTEM, array_type
from mobilesam.bundle.manifest import FileRecord, Manifest
from mobilesam.runtimes.coreai import check_asset
from parity.description.records import Description, Function, Tensor, UnreadableError
from parity.weight_audit.coreai import graph_of

PARTS = frozenset({"main.mlirb", "main.hash", "metadata.json"})
"""The files of an asset."""

_ELEMENTS = {"f16": "float16", "f32": "float32", "f64": "float64", "ui8": "uint8"}


def read(path: Path, record: FileRecord, manifest: Manifest) -> Description:
    """Read an asset.

    Raises:
        BundleError: it is damaged.
        UnreadableError: it lacks the component's function.
    """
    check_asset(path)
    asset = authoring.AIModelAsset.load(path)
    summary = asset.summary(include_statistics=False)
    wanted = manifest.signatures[record.component].name
    names = list(summary.function_names)
    if wanted not in names:
        raise UnreadableError(f"it has no function '{wanted}', only {', '.join(names)}")
    program = asset.program
    graph = graph_of(program, wanted)
    about = json.loads((path / "metadata.json").read_text("utf-8"))
    return Description(
        described=Function(
            _described(summary.function_inputs(wanted)),
            _described(summary.function_outputs(wanted)),
        ),
        program=Function(
            _types(graph.attributes["arg_attrs"], _function_type(graph).inputs),
            _types(graph.attributes["res_attrs"], _function_type(graph).results),
        ),
        facts={k: str(v) for k, v in about.get("creatorDefinedMetadata", {}).items()},
        problems=tuple(_problems(path, names, wanted, summary)),
    )


def _described(tensors: Sequence[tuple[str, str]]) -> tuple[Tensor, ...]:
    types = [(name, *array_type(kind)) for name, kind in tensors]
    return tuple(
        Tensor(name, dtype, () if shape is None else (shape,)) for name, shape, dtype in types
    )


def _function_type(graph: Any) -> Any:
    return graph.attributes["function_type"].value


def _types(attributes: Any, types: Any) -> tuple[Tensor, ...]:
    """Names and types of a function's arguments or results."""
    found = []
    for named, kind in zip(attributes, types, strict=True):
        element = str(kind.element_type)
        name = named["coreai.name"].value
        found.append(Tensor(name, _ELEMENTS.get(element, element), (tuple(kind.shape),)))
    return tuple(found)


def _problems(path: Path, names: Sequence[str], wanted: str, summary: Any) -> Iterator[str]:
    """What is wrong with an asset beside its inputs and outputs."""
    if list(names) != [wanted]:
        yield f"functions are {', '.join(names)}, the contract says '{wanted}'"
    strange = sorted({part.name for part in path.iterdir()} - PARTS)
    if strange:
        yield f"asset holds '{strange[0]}', which no asset of this exporter does"
    system = str(summary._compatibility_version).partition(".")[0]
    if system != SYSTEM:
        yield f"lowest system is {system}, the exporter writes for {SYSTEM}"
