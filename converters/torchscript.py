"""TorchScript: traced and frozen (.pt), and the same for the legacy lite interpreter (.ptl)."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from converters.base import Conversion, Port
from converters.coreml_options import CoreMLOptions

EXTRA_FILE = "contract.json"
"""Provenance inside the archive, readable through ``torch.jit.load(..., _extra_files=...)``."""


def options(scheme: str, coreml: CoreMLOptions) -> dict[str, str]:
    """None: a frozen trace has no settings."""
    return {}


def convert(job: Conversion) -> None:
    """Trace the exported graph, freeze it, save it twice."""
    extra = {EXTRA_FILE: json.dumps(job.metadata)}
    with torch.no_grad():
        frozen = torch.jit.freeze(job.trace())
    torch.jit.save(frozen, str(job.path(".pt")), _extra_files=extra)
    frozen._save_for_lite_interpreter(str(job.path(".ptl")), _extra_files=extra)


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
