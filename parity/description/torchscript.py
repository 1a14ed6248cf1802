"""What a TorchScript archive says of itself: its methods, their schemas, and how it was made.

The archive keeps neither shapes nor dtypes: those of the outputs are compared as they come.
"""

import io
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mobilesam.bundle.manifest import TORCHSCRIPT_EXTRA, FileRecord, Manifest
from parity.description.records import Description, Function, Tensor, UnreadableError

_METHOD = "forward"
_TRAINING = {"aten::batch_norm": 5, "aten::dropout": 2, "aten::instance_norm": 5}
"""Operators that train, by the place of the argument that says so."""


class Schema(NamedTuple):
    """What a method takes and gives: names and types, and whether an argument may be left out."""

    arguments: list[tuple[str, str, bool]]
    returns: list[str]


def read(path: Path, record: FileRecord, manifest: Manifest) -> Description:
    """Read an archive, of either interpreter.

    Raises:
        UnreadableError: it is damaged, or has no method ``forward``.
    """
    problems: list[str] = []
    if record.runtime == "lite_interpreter":
        methods = _bytecode(path)
    else:
        methods, problems = _module(path)
    if _METHOD not in methods:
        raise UnreadableError(f"it has no method '{_METHOD}', only {', '.join(methods) or 'none'}")
    if len(methods) > 1:
        problems.append(f"methods are {', '.join(methods)}, wanted '{_METHOD}' alone")
    schema = methods[_METHOD]
    wanted = manifest.signatures[record.component]
    specs = {spec.name: spec for spec in wanted.inputs}
    for name, kind, optional in schema.arguments:
        if kind != "Tensor":
            problems.append(f"input '{name}' is a {kind}, the contract has tensors")
        if optional:
            problems.append(f"input '{name}' has a default value, the contract needs it")
    returned = _tensors_of(schema.returns)
    if returned is None or returned != len(wanted.outputs):
        problems.append(
            f"method '{_METHOD}' returns {', '.join(schema.returns) or 'nothing'}, the contract "
            f"has {len(wanted.outputs)} tensor(s)"
        )
    inputs = tuple(
        Tensor.of(specs[name]) if name in specs else Tensor(name, kind, ((),))
        for name, kind, _ in schema.arguments
    )
    return Description(
        described=Function(inputs, tuple(Tensor.of(spec) for spec in wanted.outputs)),
        facts=_facts(path),
        problems=tuple(problems),
        ordered=True,
    )


def _tensors_of(returns: list[str]) -> int | None:
    """How many tensors a method returns, alone or in one tuple; None for anything else."""
    if returns == ["Tensor"]:
        return 1
    held = (
        re.fullmatch(r"Tuple\[(Tensor(?:, Tensor)*)\]", returns[0]) if len(returns) == 1 else None
    )
    return held[1].count("Tensor") if held else None


def _module(path: Path) -> tuple[dict[str, Schema], list[str]]:
    """Methods of an archive of the full interpreter, and what shows that it is not frozen."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path), map_location="cpu")
    methods = {}
    for name in module._c._method_names():
        schema = module._c._get_method(name).schema
        arguments = [(a.name, str(a.type), a.has_default_value()) for a in schema.arguments[1:]]
        methods[name] = Schema(arguments, [str(value.type) for value in schema.returns])
    return methods, [*_problems_of_module(module)]


def _problems_of_module(module: Any) -> Iterator[str]:
    if getattr(module, "training", False):
        yield "module is in training mode, wanted eval mode"
    kept = [name for name, _ in (*module.named_parameters(), *module.named_buffers())]
    if kept:
        yield f"module is not frozen: '{kept[0]}' and {len(kept) - 1} more are attributes"
    if not hasattr(module, _METHOD):
        return
    for operator, place in _TRAINING.items():
        for node in module.graph.findAllNodes(operator, recurse=True):
            if list(node.inputs())[place].toIValue():
                yield f"operator {operator} trains, wanted eval mode"
                break


class _Nothing:
    """Stands for whatever a pickle would build: nothing of it is imported or run."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Inert(pickle.Unpickler):
    """Reads tuples, names and numbers of a pickle; calls nothing but :class:`_Nothing`."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        return _Nothing

    def persistent_load(self, pid: Any) -> Any:
        return _Nothing()


def _bytecode(path: Path) -> dict[str, Schema]:
    """Methods of an archive of the lite interpreter, of the bytecode that it runs.

    The bytecode is a pickle: a version, then for each method its name, its code, and its schema.
    Source: ``torch/csrc/jit/serialization/export_bytecode.cpp``.
    """
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith("/bytecode.pkl")]
        if not names:
            raise UnreadableError("the archive has no bytecode")
        _, *listed = _Inert(io.BytesIO(archive.read(names[0]))).load()
    methods = {}
    for qualified, _, schema in listed:
        parts = {key: [dict(each) for each in values] for key, values in schema}
        methods[qualified.rpartition(".")[2]] = Schema(
            [
                (a["name"], a["type"], a["default_value"] is not None)
                for a in parts["arguments"]
                if a["name"] != "self"
            ],
            [value["type"] for value in parts["returns"]],
        )
    return methods


def _facts(path: Path) -> dict[str, str]:
    """What the exporter wrote into the archive."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith(f"/extra/{TORCHSCRIPT_EXTRA}")]
        return dict(json.loads(archive.read(names[0]))) if names else {}
