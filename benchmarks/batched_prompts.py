"""Several prompts in one call of the decoder: is it less work a prompt than one after the other?

    python -m benchmarks.batched_prompts --prompts 1 --prompts 4 --prompts 16 --prompts 64

The decoder as written, in float32 with the demo weights, is given N clicks at once, in PyTorch
and as an ONNX and a TFLite file. All sizes of one runtime take turns in one process. Printed is the
CPU time, and the time on the clock, of one prompt.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from mobilesam.model.build import load_model
from mobilesam.model.sam import MobileSAM


class BatchedDecoder(nn.Module):
    """An embedding and N prompts of one click, as tokens [N, 2, C], to N answers."""

    def __init__(self, model: MobileSAM) -> None:
        super().__init__()
        self.mask_decoder = model.mask_decoder
        position, dense = (
            model.prompt_encoder.image_position(),
            model.prompt_encoder.embed_no_mask(),
        )
        self.register_buffer("position", position.detach().clone())
        self.register_buffer("dense", dense.detach().clone())

    def forward(self, embedding: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = self.mask_decoder(
            embedding, self.position, tokens, self.dense
        )
        return found


def in_pytorch(module: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Callable[[], Any]:
    """A call of the module."""

    def run() -> Any:
        with torch.inference_mode():
            return module(*inputs)

    return run


def in_onnxruntime(
    module: nn.Module, inputs: tuple[Tensor, ...], threads: int
) -> Callable[[], Any]:
    """A call of the module's ONNX file."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decoder.onnx"
        torch.onnx.export(module, inputs, path, dynamo=True, external_data=False, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    arrays = dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True))
    return lambda: session.run(None, arrays)


def in_litert(module: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Callable[[], Any]:
    """A call of the module's TFLite file."""
    import litert_torch
    from ai_edge_litert.interpreter import Interpreter

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "decoder.tflite"
        litert_torch.convert(module, inputs).export(str(path))
        interpreter = Interpreter(model_content=path.read_bytes(), num_threads=threads)
    runner: Any = next(
        iter(map(interpreter.get_signature_runner, interpreter.get_signature_list()))
    )
    names = list(runner.get_input_details())
    arrays = dict(zip(names, (tensor.numpy() for tensor in inputs), strict=True))
    return lambda: runner(**arrays)


RUNTIMES = {"PyTorch": in_pytorch, "ONNX Runtime": in_onnxruntime, "LiteRT": in_litert}


def main(
    prompts: Annotated[list[int], typer.Option(min=1, help="N.")] = [1, 4, 16, 64],  # noqa: B006
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    image_size: int = 1024,
) -> None:
    """Measure, and print a table."""
    torch.set_num_threads(threads)
    model = load_model("demo", image_size=image_size).eval().requires_grad_(False)
    module = BatchedDecoder(model).eval()
    generator = torch.Generator().manual_seed(0)
    grid = image_size // 16
    embedding = torch.randn(1, model.channels, grid, grid, generator=generator) * 0.3
    points = torch.rand(max(prompts), 1, 2, generator=generator) * image_size
    with torch.no_grad():
        tokens = model.prompt_encoder((points, torch.ones(len(points), 1)), None, None)[0]
    table = Table("ms a prompt, CPU / clock", *(f"{count} at once" for count in prompts))
    for name, opened in RUNTIMES.items():
        runs = {n: opened(module, (embedding, tokens[:n].contiguous()), threads) for n in prompts}
        spent: dict[int, list[tuple[float, float]]] = {count: [] for count in prompts}
        for number in range(rounds + 1):
            for count, run in runs.items():
                before = time.process_time(), time.perf_counter()
                run()
                after = time.process_time(), time.perf_counter()
                if number:  # the first round fills the caches
                    each = (1e3 * (b - a) / count for a, b in zip(before, after, strict=True))
                    spent[count].append((next(each), next(each)))
        medians = [
            np.array([statistics.median(v) for v in zip(*spent[n], strict=True)]) for n in prompts
        ]
        table.add_row(name, *(f"{cpu:.0f} / {clock:.0f}" for cpu, clock in medians))
        runs.clear()
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
