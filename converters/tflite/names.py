"""What litert-torch calls the values of a TFLite file: by the modules around them, with classes.

``....AttentionStage_2/....TinyViTBlock_3/...Linear_fc1;2`` is a value of
``AttentionStage2.TinyViTBlock3.fc1``; of operations that were made one, the names stand side by
side.
"""

import re

from torch import nn

from converters.tflite.file import read_model, write_model

FUSED = ";;"
"""Stands in a name between those of ops that were made one: its value may be any of theirs."""

_DEPTH = 2
_AROUND = frozenset(
    {
        "",
        "Named",
        "module",
        "image_encoder",
        "mask_decoder",
        "transformer",
        "prompt_encoder",
        "layers",
    }
)
"""Modules around all layers, which are left out of a layer's name."""


def path_of(label: str) -> tuple[str, ...]:
    """The modules of a value, outermost first, by attribute, or by class where that is a number.

    Args:
        label: a tensor's name; of several parts the last counts.
    """
    part = [each for each in label.split(FUSED) if each.strip(";")][-1]
    names = []
    for step in re.sub(r";\d*$", "", part.rstrip(";")).split("/"):
        kind, _, attribute = step.rpartition(".")[2].partition("_")
        name = f"{kind}{attribute}" if attribute.isdigit() else attribute
        if name not in _AROUND:
            names.append(name)
    return tuple(names)


def group_of(label: str) -> str:
    """The group of layers that a value is in, such as ``AttentionStage2.TinyViTBlock3``.

    The positional encoding of coordinates and what has no module are in none: ``""``.
    """
    path = path_of(label)
    return "" if "pe_layer" in path else ".".join(path[:_DEPTH])


def path_at(module: nn.Module, name: str) -> tuple[str, ...]:
    """The modules around a submodule, named as :func:`path_of` names them in a file.

    Args:
        module: one of those around all layers, such as the image encoder.
        name: of the submodule, as ``named_modules`` gives it.
    """
    path = []
    for attribute in name.split("."):
        module = module.get_submodule(attribute)
        if attribute.isdigit():
            path.append(f"{type(module).__name__}{attribute}")
        elif not isinstance(module, nn.ModuleList) and attribute not in _AROUND:
            path.append(attribute)
    return tuple(path)


def group_at(module: nn.Module, name: str) -> str:
    """The group of layers that a submodule is in, as :func:`group_of` names it in the file."""
    return ".".join(path_at(module, name)[:_DEPTH])


def scope_of(label: str) -> tuple[str, ...]:
    """Modules around a value, outermost first: attributes, and ``Type_2`` where that is a number.

    Args:
        label: a tensor's name, the converter's or a shortened one; of several parts the first
            counts.
    """
    steps = label.partition(";")[0].split("/")[1:]
    return tuple(steps if label.startswith("/") else map(_step, steps))


def _step(named: str) -> str:
    kind, _, attribute = named.rpartition(".")[2].partition("_")
    return f"{kind}_{attribute}" if attribute.isdigit() else attribute


def shortened(content: bytes) -> bytes:
    """Shorten the names of a file's values to their scopes, which saves 0.2 MB.

    Such a name begins with a slash, and ends with ``;;`` where ops were made one. Inputs, outputs
    and their signature keep their names.
    """
    model = read_model(content)
    graph = model.subgraphs[0]
    kept = {*map(int, graph.inputs), *map(int, graph.outputs)}
    for index, tensor in enumerate(graph.tensors):
        label = (tensor.name or b"").decode()
        if index not in kept and "/" in label:
            fused = FUSED if FUSED in label else ""
            tensor.name = "/".join(("", *scope_of(label))).encode() + fused.encode()
    return write_model(model)
