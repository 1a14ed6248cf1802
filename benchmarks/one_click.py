"""One click on each runtime: the decoder as it is written beside the short one.

    python -m benchmarks.one_click FOLDER --target onnx --target executorch --threads 1

Both are converted in float32 as ``mobilesam export`` does, with the demo weights, into FOLDER,
where files that are there already are used again. Of one runtime both run in one process and take
turns, so that whatever else the machine does slows both alike. Beside the seconds on the clock it
says the CPU time, which other programs change less, and how far the answers lie apart.

Core ML does not run on Linux. What its files could save is the multiplications, which are counted;
where attention sums row by row, as in TFLite's files, they are a few more.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from converters.base import Conversion, converter_of
from converters.modules import DecoderModule, build_module, example_inputs
from converters.provenance import weights_record
from converters.schemes import TARGETS
from converters.spec import ExportSpec
from mobilesam.bundle.contract import DEFAULT_SLOTS, Contract
from mobilesam.model.build import load_model
from mobilesam.model.mask_decoder import MaskDecoder
from mobilesam.model.sam import MobileSAM
from mobilesam.model.short_decoder import ShortMaskDecoder

PLAIN, SHORT = "as written", "short"
RUNS = 3
"""Timed runs in a row of one decoder, after one that fills the caches."""

Run = Callable[[], list[np.ndarray]]


class AsWritten(MaskDecoder):
    """A decoder that converters do not shorten."""


def decoder_module(model: MobileSAM, contract: Contract, form: str) -> DecoderModule:
    """The contract's module with the decoder of a form."""
    module = build_module(model, "decoder", contract)
    assert isinstance(module, DecoderModule)
    if form == SHORT:
        module.mask_decoder = ShortMaskDecoder(module.mask_decoder)
    else:
        module.mask_decoder.__class__ = AsWritten
    return module


def converted(model: MobileSAM, contract: Contract, target: str, form: str, out: Path) -> Path:
    """The folder of a decoder's file, which is made where it is missing."""
    folder = out / f"{target}-{form.replace(' ', '-')}-{contract.slots}"
    suffix = TARGETS[target].artefacts[0].suffix
    if not (folder / f"decoder{suffix}").exists():
        folder.mkdir(parents=True, exist_ok=True)
        converter = converter_of(target)
        spec = ExportSpec(
            target=target,
            scheme="fp32",
            variant=model.variant,
            weights=weights_record(model),
            contract=contract,
            options=converter.Options(),
        )
        job = Conversion(
            spec=spec,
            component="decoder",
            module=decoder_module(model, contract, form),
            example=example_inputs(contract, "decoder"),
            folder=folder,
            shared=folder,
        )
        converter.convert(job)
    return folder / f"decoder{suffix}"


def opened(target: str, path: Path, inputs: dict[str, torch.Tensor], threads: int) -> Run:
    """A call that runs a file once and gives masks and predicted IoUs."""
    given = list(inputs.values())
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    if target == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        return lambda: list(session.run(None, arrays))
    if target == "executorch":
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime

        if portable_lib._threadpool_get_thread_count() != threads:
            portable_lib._unsafe_reset_threadpool(threads)
        program = Runtime.get().load_program(path)
        method: Any = program.load_method("decode")
        return lambda: [tensor.numpy() for tensor in method.execute(given)]
    if target == "tflite":
        from ai_edge_litert.interpreter import Interpreter

        decode: Any = Interpreter(str(path), num_threads=threads).get_signature_runner()

        def decoded() -> list[np.ndarray]:
            answers = decode(**arrays)
            return [answers["low_res_masks"], answers["iou_predictions"]]

        return decoded
    module = torch.jit.load(str(path))

    def run() -> list[np.ndarray]:
        with torch.inference_mode():
            return [tensor.numpy() for tensor in module(*given)]

    return run


def timed(runs: dict[str, Run], seconds: float) -> dict[str, tuple[float, float, int]]:
    """Of each the median milliseconds on the clock and of CPU time, and the number of runs."""
    walls: dict[str, list[float]] = {form: [] for form in runs}
    cpus: dict[str, list[float]] = {form: [] for form in runs}
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        for form, run in runs.items():
            run()
            for _ in range(RUNS):
                wall, cpu = time.perf_counter(), time.process_time()
                run()
                walls[form].append(time.perf_counter() - wall)
                cpus[form].append(time.process_time() - cpu)
    return {
        form: (1e3 * statistics.median(walls[form]), 1e3 * statistics.median(cpu), len(cpu))
        for form, cpu in cpus.items()
    }


def gmac(model: MobileSAM, contract: Contract, form: str) -> float:
    """10**9 multiplications with their additions of one prompt."""
    module = decoder_module(model, contract, form)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(**example_inputs(contract, "decoder"))
    return float(counter.get_total_flops()) / 2e9


def main(
    folder: Annotated[Path, typer.Argument(help="Where the files are.", show_default=False)],
    target: Annotated[list[str] | None, typer.Option(help="Of these; all that run here.")] = None,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    slots: Annotated[int, typer.Option(min=2, max=64)] = DEFAULT_SLOTS,
    image_size: int = 1024,
    seconds: Annotated[float, typer.Option(help="Of timing, for each runtime.")] = 10.0,
) -> None:
    """Measure, and print a table."""
    torch.set_num_threads(threads)
    model = load_model(image_size=image_size)
    contract = Contract.of(model, slots=slots)
    inputs = example_inputs(contract, "decoder")
    table = Table("target", "form", "ms", "CPU ms", "times less CPU", "runs", "relative L2")
    for name in target or ("torchscript", "onnx", "executorch", "tflite"):
        paths = {f: converted(model, contract, name, f, folder) for f in (PLAIN, SHORT)}
        runs = {form: opened(name, path, inputs, threads) for form, path in paths.items()}
        answers = {form: [np.array(each) for each in run()] for form, run in runs.items()}
        plain, short = (answers[form][0] for form in (PLAIN, SHORT))
        apart = float(np.linalg.norm(short - plain) / np.linalg.norm(plain))
        found = timed(runs, seconds)
        for form, (wall, cpu, count) in found.items():
            less = found[PLAIN][1] / cpu
            error = apart if form == SHORT else 0.0
            row = f"{wall:.1f}", f"{cpu:.1f}", f"{less:.2f}", str(count), f"{error:.1e}"
            table.add_row(name, form, *row)
    Console(width=100).print(table)
    counts = ", ".join(f"{form} {gmac(model, contract, form):.2f}" for form in (PLAIN, SHORT))
    print(f"{threads} threads, {slots} slots, GMAC: {counts}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    typer.run(main)
