"""TFLite through litert-torch: one named signature a file, float32 in and out."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from filelock import FileLock
from torch import Tensor, nn

from converters.base import Conversion, TensorInfo
from converters.calibration import ROOM
from converters.kept import bounded
from converters.long_sums import sum_by_rows
from converters.modules import DecoderModule, shorten
from converters.schemes import MIXED, TARGETS
from converters.spec import ExportSpec, TargetOptions
from converters.tflite.broadcasting import align_constants
from converters.tflite.constants import shrink_constants
from converters.tflite.products import batches_of_one
from converters.tflite.ranks import keep_ranks
from converters.tflite.versions import stamped
from mobilesam.errors import ExportError
from mobilesam.files import written_whole
from mobilesam.model.prompt_encoder import PositionEncoding
from mobilesam.model.short_decoder import ShortMaskDecoder

ALL_BUT_POSITIONS = rf"^(?!.*\b{PositionEncoding.__qualname__}_)"
"""Matches every operation but those of the positional encoding, which the converter names after
their module. With its matrix rounded to float16 a far point's phase is off by 0.01 and more."""


class _Named(nn.Module):
    """Takes keyword arguments and returns a dict, which names the file's inputs and outputs."""

    def __init__(self, module: nn.Module, outputs: Sequence[str]) -> None:
        super().__init__()
        self.module = module
        self.outputs = tuple(outputs)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        result = self.module(**inputs)
        return dict(
            zip(self.outputs, result if isinstance(result, tuple) else (result,), strict=True)
        )


Options = TargetOptions


def settings(spec: ExportSpec) -> dict[str, str]:
    """None of the converter's settings differs from its defaults."""
    return {}


def prepare(module: nn.Module, scheme: str) -> nn.Module:
    """Change a contract's module, in place, into the one that is converted."""
    shorten(module, "tflite", scheme)
    if isinstance(module, DecoderModule):
        module.keep = bounded
        if sums_in_floats(scheme):
            sum_by_rows(module)
    return module


def sums_in_floats(scheme: str) -> bool:
    """Whether attention's products are of floats: a GPU then adds them up in float16.

    Those of int8 activations are sums of integers, and sums of sums would be rounded twice.
    """
    return scheme not in (*TARGETS["tflite"].calibrated, MIXED)


def convert(job: Conversion) -> None:
    """Convert to float32; then store weights as float16, or quantize."""
    from converters.tflite.quantization import PLANS, calibrated, quantized

    path = job.path(".tflite")
    content = _float_file(job).read_bytes()
    if job.scheme == "fp16":
        content = _float16_weights(content)
    elif job.scheme != "fp32":
        content, ranges = shrink_constants(content), None
        if job.calibration is not None:
            samples = job.calibration.samples(job.component)
            ranges = calibrated(
                content,
                samples,
                job.signature.name,
                job.calibration.method,
                room=ROOM.get(job.scheme, 1.0),
            )
        content = stamped(quantized(content, job.spec.plan or PLANS[job.scheme], ranges))
    path.write_bytes(content)


def read_io(path: Path, job: Conversion) -> tuple[Sequence[TensorInfo], Sequence[TensorInfo]]:
    """The signature as the interpreter reports it; refuses operations outside TFLite's own set."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    names = {detail["op_name"] for detail in interpreter._get_ops_details()}
    foreign = sorted(n for n in names if n.startswith(("Flex", "CUSTOM", "STABLEHLO")))
    if foreign:
        raise ExportError(f"{path.name} has operations that are not TFLite's: {', '.join(foreign)}")
    if list(interpreter.get_signature_list()) != [job.signature.name]:
        found = ", ".join(interpreter.get_signature_list()) or "none"
        raise ExportError(f"{path.name} has signature {found} instead of {job.signature.name}")
    runner = interpreter.get_signature_runner(job.signature.name)
    return _infos(runner.get_input_details()), _infos(runner.get_output_details())


def _infos(details: dict[str, dict]) -> list[TensorInfo]:
    return [
        TensorInfo(
            name, tuple(int(n) for n in detail["shape_signature"]), np.dtype(detail["dtype"]).name
        )
        for name, detail in details.items()
    ]


def _float_file(job: Conversion) -> Path:
    """The float32 file, converted once for all schemes of one export that share it."""
    module = prepare(job.module, job.scheme)
    short = isinstance(module, DecoderModule) and isinstance(module.mask_decoder, ShortMaskDecoder)
    sums = "floats" if sums_in_floats(job.scheme) else "integers"
    path = job.shared / f"{job.component}-{'short' if short else sums}.tflite"
    with FileLock(path.with_suffix(".lock")):
        if not path.exists():
            import litert_torch

            named = _Named(module, [spec.name for spec in job.signature.outputs]).eval()
            with batches_of_one() if short else nullcontext():
                model = litert_torch.signature(
                    job.signature.name, named, sample_kwargs=job.example
                ).convert()
            with written_whole(path) as partial:
                model.export(str(partial))
                partial.write_bytes(align_constants(keep_ranks(partial.read_bytes())))
    return path


def _float16_weights(content: bytes) -> bytes:
    from ai_edge_quantizer.qtyping import TFLOperationName
    from ai_edge_quantizer.quantizer import AlgorithmName, Quantizer

    quantizer = Quantizer(content)
    quantizer.add_weight_only_config(
        regex=ALL_BUT_POSITIONS,
        operation_name=TFLOperationName.ALL_SUPPORTED,
        num_bits=16,
        algorithm_key=AlgorithmName.FLOAT_CASTING,
    )
    return bytes(quantizer.quantize(enable_progress_report=False).quantized_model)
