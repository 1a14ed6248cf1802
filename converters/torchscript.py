"""TorchScript: traced and frozen (.pt), and the same for the legacy lite interpreter (.ptl).

``w8d`` is torch.ao's dynamic quantization. PyTorch calls it deprecated, but its successor, torchao,
makes tensors that cannot be traced.
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from converters.base import Conversion, TensorInfo
from converters.modules import shorten
from converters.spec import ExportSpec, TargetOptions
from mobilesam.bundle.manifest import TORCHSCRIPT_EXTRA

Options = TargetOptions


def settings(spec: ExportSpec) -> dict[str, str]:
    """An empty dict: a frozen trace has no settings."""
    return {}


def convert(job: Conversion) -> None:
    """Trace the exported graph, freeze it, save it twice."""
    shorten(job.module, job.spec.target, job.scheme)
    extra = {TORCHSCRIPT_EXTRA: json.dumps(job.metadata)}
    with torch.no_grad():
        frozen = torch.jit.freeze(job.trace(_dynamic if job.scheme == "w8d" else None))
    torch.jit.save(frozen, str(job.path(".pt")), _extra_files=extra)
    frozen._save_for_lite_interpreter(str(job.path(".ptl")), _extra_files=extra)


def _dynamic(graph: torch.fx.GraphModule) -> nn.Module:
    """Give linear layers int8 weights and inputs that are rounded to uint8 at each run."""
    from torch.ao.quantization import per_channel_dynamic_qconfig, quantize_dynamic

    for number, node in enumerate(list(graph.graph.nodes)):
        if node.target is not torch.ops.aten.linear.default:
            continue
        given, *constants = node.args
        values = [_attribute(graph, constant.target) for constant in constants]
        outputs, inputs = values[0].shape
        layer = nn.Linear(inputs, outputs, bias=len(values) > 1, device="meta")
        names = ("weight", "bias")[: len(values)]
        layer.load_state_dict(dict(zip(names, values, strict=True)), assign=True)
        name = f"linear_{number}"
        graph.add_submodule(name, layer.eval())
        with graph.graph.inserting_before(node):
            node.replace_all_uses_with(graph.graph.call_module(name, (given,)))
        graph.graph.erase_node(node)
    graph.recompile()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.ao.quantization is deprecated")
        return quantize_dynamic(graph, {nn.Linear: per_channel_dynamic_qconfig}, inplace=True)


def _attribute(module: nn.Module, path: str) -> torch.Tensor:
    parent, _, name = path.rpartition(".")
    value: torch.Tensor = getattr(module.get_submodule(parent), name)
    return value


def read_io(path: Path, job: Conversion) -> tuple[Sequence[TensorInfo], Sequence[TensorInfo]]:
    """Argument names from the file; output shapes, which it does not record, from one run."""
    if path.suffix == ".ptl":
        from torch.jit.mobile import _load_for_lite_interpreter

        module = _load_for_lite_interpreter(str(path))
        names = [spec.name for spec in job.signature.inputs]
    else:
        module = torch.jit.load(str(path))
        names = [argument.name for argument in module.forward.schema.arguments][1:]
    with torch.no_grad():
        result = module(*job.inputs)
    outputs = result if isinstance(result, tuple) else (result,)
    found = [TensorInfo(None, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in outputs]
    return [TensorInfo(name, None, None) for name in names], found
