"""The arithmetic of the Core ML evaluator beside that of Apple's own Core AI runtime.

    mobilesam export --target coreml,coreai --scheme fp32,fp16 --image-size 256 --out EXPORTS
    python -m benchmarks.coreai_opinion EXPORTS

Each family of ops that both have is written as one PyTorch module and converted twice: by
coremltools, to a package that :mod:`coreml_evaluator` computes, and by coreai-torch, to an asset
that Apple's runtime computes. Both answers are held against float64, and against each other; in
float16 the weights and inputs were rounded before, so that what is left is the ops' own error.
Then the same of the bundles' decoders and encoders, held against PyTorch in float32.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from converters.modules import build_module, example_inputs
from coreml_evaluator import CoreMLProgram
from coreml_evaluator.reading import quiet
from mobilesam.bundle.contract import COMPONENTS
from mobilesam.model.build import load_model
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.bundle import Bundle

Function = Callable[..., Tensor]
Family = tuple[str, Function, list[Tensor], list[Tensor]]

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}


class Op(nn.Module):
    """A function of inputs and weights; in float16 it computes between two casts."""

    def __init__(self, function: Function, weights: list[Tensor], dtype: torch.dtype) -> None:
        super().__init__()
        self.function, self.dtype = function, dtype
        self.weights = nn.ParameterList([nn.Parameter(w.to(dtype), False) for w in weights])

    def forward(self, *inputs: Tensor) -> Tensor:
        given = [tensor.to(self.dtype) for tensor in inputs]
        return self.function(*given, *self.weights).float()


def families() -> Iterator[Family]:
    """Name, function, inputs and weights of each family, with sides as in the model."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    picture, tokens = random(1, 32, 16, 16), random(4, 49, 64)
    yield "add, sub, mul, real_div", lambda a, b: (a + b) * a - b / 3, [picture, picture * 2], []
    yield "pow, sqrt", lambda a: torch.sqrt(a.pow(2) + 1), [picture], []
    yield "sin, cos", lambda a: torch.sin(a) + torch.cos(a), [4 * picture], []
    yield "gelu", functional.gelu, [3 * picture], []
    yield "relu", torch.relu, [picture], []
    yield "select", lambda a: torch.where(a > 0.5, a, torch.zeros_like(a)), [picture], []
    yield "softmax", lambda a: a.softmax(-1), [4 * tokens], []
    yield "reduce_mean", lambda a: a.mean(1, keepdim=True), [picture], []
    yield "matmul", lambda a: a @ a.transpose(1, 2), [tokens], []
    yield "linear", functional.linear, [tokens], [random(128, 64) / 8, random(128)]
    yield "conv", _conv(1), [picture], [random(64, 32, 3, 3) / 17, random(64)]
    yield "conv, depthwise", _conv(32), [picture], [random(32, 1, 3, 3) / 3, random(32)]
    yield "conv_transpose", _transposed, [picture], [random(32, 16, 2, 2) / 6, random(16)]
    yield "layer_norm", _layer_norm, [5 * tokens + 2], [random(64), random(64)]
    yield "reshape, transpose, split, concat", _moved, [tokens], []


def _conv(groups: int) -> Function:
    return lambda x, weight, bias: functional.conv2d(x, weight, bias, 1, 1, 1, groups)


def _transposed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.conv_transpose2d(x, weight, bias, 2)


def _layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.layer_norm(x, weight.shape, weight, bias, 1e-5)


def _moved(x: Tensor) -> Tensor:
    first, second = x.reshape(4, 7, 7, 64).permute(0, 3, 1, 2).split(32, 1)
    return torch.cat([second, first], 1)


def by_evaluator(op: Op, inputs: list[Tensor], half: bool, folder: Path) -> np.ndarray:
    """What our evaluator makes of coremltools' package, made float16 by coremltools."""
    with quiet():
        import coremltools as ct

        model = ct.convert(
            torch.jit.trace(op, inputs),
            inputs=[ct.TensorType(name=f"x{n}", shape=x.shape) for n, x in enumerate(inputs)],
            outputs=[ct.TensorType(name="y", dtype=np.float32)],
            minimum_deployment_target=ct.target.iOS17,
            compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
            skip_model_load=True,
        )
        model.save(str(folder / "op.mlpackage"))
    program = CoreMLProgram(folder / "op.mlpackage")
    given = {f"x{number}": x.numpy() for number, x in enumerate(inputs)}
    return np.asarray(program.run(given)["y"].numpy(), np.float64)


def by_apple(op: Op, inputs: list[Tensor], folder: Path) -> np.ndarray:
    """What Apple's runtime makes of coreai-torch's asset."""
    import coreai.authoring  # noqa: F401  (before the converter)
    from coreai.runtime import NDArray
    from coreai_torch import TorchConverter, get_decomp_table

    names = [f"x{number}" for number in range(len(inputs))]
    program = torch.export.export(op, tuple(inputs)).run_decompositions(get_decomp_table())
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
        converter.add_exported_program(program, input_names=names, output_names=["y"])
        asset = converter.to_coreai().save_asset(folder / "op.aimodel")

    async def answer() -> np.ndarray:
        async with asset.executable() as model:
            given = {n: NDArray(x.numpy()) for n, x in zip(names, inputs, strict=True)}
            found = await model.load_function("main")(given)
            return np.array(found["y"].numpy(), np.float64)

    return asyncio.run(answer())


def distance(one: Any, other: Any) -> float:
    """Relative L2 of a difference."""
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def compare_ops() -> Iterator[str]:
    """Rows of a table: family, precision, the error of each, and the distance between them."""
    for name, function, inputs, weights in families():
        for precision, dtype in PRECISIONS.items():
            rounded = [x.to(dtype).float() for x in inputs]
            op = Op(function, weights, dtype).eval()
            exact = [w.to(dtype).double() for w in weights]
            wanted = function(*(x.double() for x in rounded), *exact).numpy()
            with tempfile.TemporaryDirectory() as folder:
                apple = by_apple(op, rounded, Path(folder))
                op = Op(function, [w.to(dtype).float() for w in weights], torch.float32).eval()
                ours = by_evaluator(op, rounded, precision == "fp16", Path(folder))
            yield _row(name, precision, ours, apple, wanted)


def compare_bundles(exports: Path) -> Iterator[str]:
    """The same of each component of the bundles."""
    for precision in PRECISIONS:
        bundles = [Bundle(exports / f"{target}-{precision}") for target in ("coreml", "coreai")]
        contract = bundles[0].manifest.contract
        model = load_model("demo", image_size=contract.image_size)
        for component in COMPONENTS[::-1]:
            example = example_inputs(contract, component)
            given = {name: value.numpy() for name, value in example.items()}
            name = contract.signature(component).outputs[0].name
            answers = []
            for bundle in bundles:
                runtime = bundle.manifest.target
                with open_runner(bundle, runtime, components=(component,)) as runner:
                    answers.append(runner.run(component, given)[name])
            with torch.no_grad():
                wanted = build_module(model, component, contract)(**example)
            wanted = wanted[0] if isinstance(wanted, tuple) else wanted
            title = f"{component} at {contract.image_size}"
            ours, apple = answers
            yield _row(title, precision, ours, apple, wanted.numpy())


def _row(name: str, precision: str, ours: Any, apple: Any, wanted: Any) -> str:
    cells = [distance(ours, wanted), distance(apple, wanted), distance(ours, apple)]
    return f"| {name} | {precision} | {' | '.join(f'{cell:.1e}' for cell in cells)} |"


def main(
    exports: Annotated[Path | None, typer.Argument(help="With bundles of both targets.")] = None,
) -> None:
    """Print the table."""
    print("| what | precision | evaluator's error | Apple's error | between them |")
    print("|---|---|---|---|---|", flush=True)
    for row in compare_ops():
        print(row, flush=True)
    for row in compare_bundles(exports) if exports else ():
        print(row, flush=True)


if __name__ == "__main__":
    typer.run(main)
