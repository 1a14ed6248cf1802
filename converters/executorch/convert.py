"""ExecuTorch: the exported program, lowered to XNNPACK or Core ML, one named method a file."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor
from torch.export import ExportedProgram

from converters.base import Conversion, TensorInfo, capture
from converters.executorch import coreml
from converters.executorch.graph import rewrite
from converters.executorch.node_history import shared_history
from converters.executorch.options import ExecuTorchOptions, executorch_options
from converters.executorch.quantization import SCHEMES, quantize
from converters.spec import ExportSpec
from mobilesam.errors import ExportError

if TYPE_CHECKING:
    from executorch.exir import EdgeProgramManager
    from executorch.exir.backend.partitioner import Partitioner

_DTYPES = {0: "uint8", 6: "float32", 5: "float16", 7: "float64", 3: "int32", 4: "int64"}
"""ExecuTorch reports torch's ScalarType numbers."""


Options = ExecuTorchOptions


def settings(spec: ExportSpec) -> dict[str, str]:
    """The backend. XNNPACK runs what it can, and the rest runs on portable kernels."""
    backend = executorch_options(spec).backend
    return {"backend": backend, **(coreml.settings() if backend == "coreml" else {})}


def convert(job: Conversion) -> None:
    """Quantize if the scheme does, lower, and serialize."""
    on_coreml = executorch_options(job.spec).backend == "coreml"
    with shared_history():
        edge = _on_coreml(job) if on_coreml else _on_xnnpack(job)
        program = edge.to_executorch()
    with job.path(".pte").open("wb") as file:
        program.write_to_file(file)


def _on_coreml(job: Conversion) -> "EdgeProgramManager":
    coreml.prepared(job)
    edge = _lowered(job.program, job, coreml.partitioner(job))
    coreml.require_whole(edge, job)
    return edge


def _on_xnnpack(job: Conversion) -> "EdgeProgramManager":
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner

    from converters.executorch.moves import fewer_moves

    if job.scheme in SCHEMES:
        program = quantize(job)
    else:
        module = job.program.module(check_guards=False)
        rewrite(module)
        program = capture(module, job.inputs, job.signature)
    # Moved, an int8 tensor would no longer lie beside the layer whose range it has.
    with nullcontext() if job.scheme == "w8a8" else fewer_moves():
        return _lowered(program, job, XnnpackPartitioner())


def _lowered(
    program: ExportedProgram, job: Conversion, partitioner: "Partitioner"
) -> "EdgeProgramManager":
    from executorch.exir import to_edge_transform_and_lower

    refuse_strided_constants(program, job)
    return to_edge_transform_and_lower({job.signature.name: program}, partitioner=[partitioner])


def refuse_strided_constants(program: ExportedProgram, job: Conversion) -> None:
    """Refuse constants that are not contiguous: ExecuTorch ignores strides and scrambles them."""
    for name, tensor in {**program.state_dict, **program.constants}.items():
        if isinstance(tensor, Tensor) and not tensor.is_contiguous():
            raise ExportError(
                f"'{name}' of the {job.component} is not contiguous, and ExecuTorch would "
                "write it scrambled"
            )


def read_io(path: Path, job: Conversion) -> tuple[Sequence[TensorInfo], Sequence[TensorInfo]]:
    """Shapes and dtypes as the runtime reports them; ExecuTorch keeps no names."""
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    metadata = program.metadata(job.signature.name)

    def read(tensors: Sequence) -> list[TensorInfo]:
        return [TensorInfo(None, tuple(t.sizes()), _DTYPES.get(t.dtype(), "?")) for t in tensors]

    inputs = [metadata.input_tensor_meta(i) for i in range(metadata.num_inputs())]
    outputs = [metadata.output_tensor_meta(i) for i in range(metadata.num_outputs())]
    return read(inputs), read(outputs)
