"""TorchScript: traced and frozen (.pt), and the same for the legacy lite interpreter (.ptl)."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from converters.base import Conversion, Port
from mobilesam.errors import ExportError

EXTRA_FILE = "contract.json"
"""Provenance inside the archive, readable through ``torch.jit.load(..., _extra_files=...)``."""


def options(scheme: str, ios: int) -> dict[str, str]:
    """None: a frozen trace has no settings."""
    return {}


def convert(job: Conversion) -> None:
    """Trace the exported graph, freeze it, save it twice."""
    graph = static_graph(job)
    extra = {EXTRA_FILE: json.dumps(job.metadata)}
    with warnings.catch_warnings(), torch.no_grad():
        # A tracer warning means that the trace is not the module; never write such a file.
        warnings.simplefilter("error", torch.jit.TracerWarning)
        try:
            traced = torch.jit.trace(graph, job.inputs)
        except torch.jit.TracerWarning as warning:
            raise ExportError(
                f"tracing the {job.component} is not faithful: {warning}"
            ) from warning
        frozen = torch.jit.freeze(traced.eval())
    torch.jit.save(frozen, str(job.path(".pt")), _extra_files=extra)
    frozen._save_for_lite_interpreter(str(job.path(".ptl")), _extra_files=extra)


def static_graph(job: Conversion) -> torch.fx.GraphModule:
    """The exported program as a module of tensor operations alone."""
    exported = job.program.module(check_guards=False)
    # Built anew, it lacks the hook that checks input shapes in Python, which would be traced too.
    return torch.fx.GraphModule(exported, exported.graph)


def ports(path: Path, job: Conversion) -> tuple[Sequence[Port], Sequence[Port]]:
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
    found = [Port(None, tuple(t.shape), str(t.dtype).removeprefix("torch.")) for t in outputs]
    return [Port(name, None, None) for name in names], found
