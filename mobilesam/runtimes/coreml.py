"""Core ML packages: Core ML itself on a Mac, elsewhere the same file evaluated in PyTorch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image
from torch import Tensor

from coreml_evaluator import CoreMLProgram, Evaluation, ProgramError
from coreml_evaluator import TensorType as ProgramTensor
from coreml_evaluator.reading import quiet
from mobilesam.bundle.compute_units import COMPUTE_UNITS
from mobilesam.bundle.contract import COMPONENTS, Component
from mobilesam.bundle.manifest import BundleFolder
from mobilesam.errors import BundleError, InputError
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import CheckedRunner, TensorType, TensorTypes, torch_threads

with quiet():
    import coremltools as ct


@contextmanager
def bundle_errors() -> Iterator[None]:
    """Raises BundleError, with the same sentence, for what the evaluator raises inside."""
    try:
        yield
    except ProgramError as error:
        raise BundleError(str(error)) from error


class CoreMLRunner(CheckedRunner):
    """``MLModel`` on macOS; elsewhere :mod:`coreml_evaluator`.

    Args:
        compute_units: one of ``COMPUTE_UNITS``, by default what the bundle was made for; means
            nothing to the evaluator.
    """

    name = "coreml"

    def __init__(
        self,
        bundle: BundleFolder,
        *,
        threads: int | None = None,
        components: tuple[Component, ...] = COMPONENTS,
        compute_units: str | None = None,
    ) -> None:
        super().__init__(bundle, threads=threads, components=components)
        if compute_units is not None and compute_units not in COMPUTE_UNITS:
            raise InputError(
                f"unknown compute units '{compute_units}', known: {', '.join(COMPUTE_UNITS)}"
            )
        meant = bundle.manifest.options.get("compute_units", "all").upper()
        self.compute_units = compute_units or meant

    @property
    def on_device(self) -> bool:
        """Whether Core ML itself computes."""
        return sys.platform == "darwin"

    @property
    def representative(self) -> bool:
        return self.on_device

    @property
    def engine(self) -> str:
        if self.on_device:
            return f"Core ML (MLModel, {self.compute_units})"
        programs = [p for p in self._opened.values() if isinstance(p, CoreMLProgram)]
        rounding = (
            "float16, rounded after every op"
            if any(program.precision == "fp16" for program in programs)
            else "float32"
        )
        return f"Core ML evaluator in PyTorch ({rounding}), not a Mac"

    def open_file(self, component: Component, path: Path) -> object:
        return self.open_package(component, path)

    def open_package(self, component: Component, path: Path) -> object:
        """Open a package that holds a component.

        Raises:
            BundleError: it cannot be read, or is not what the manifest says.
        """
        function = self.bundle.record(component, self.name).function or None
        if self.on_device:
            units = getattr(ct.ComputeUnit, self.compute_units)
            return ct.models.MLModel(str(path), compute_units=units, function_name=function)
        with bundle_errors():
            program = CoreMLProgram(path, function)
        specs = self.bundle.manifest.signatures[component].inputs
        declared, given = self.declared(component, program)
        # A flexible input is as the manifest says if it takes every shape that the manifest lists.
        flexible = {
            spec.name: TensorType(spec.shape, declared[spec.name].dtype)
            for spec in specs
            if spec.slot_counts
            and all(
                None not in shape and program.takes(spec.name, cast(tuple[int, ...], shape))
                for shape in spec.shapes
            )
        }
        self.check_declared(component, path, {**declared, **flexible}, given)
        return program

    def declared(
        self, component: Component, program: CoreMLProgram
    ) -> tuple[TensorTypes, TensorTypes]:
        """Inputs and outputs of a package, by the contract's names."""
        return types_of_program(program)

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        opened = self._opened[component]
        if not isinstance(opened, CoreMLProgram):
            predicted: dict[str, np.ndarray] = opened.predict(self._features(component, arrays))
            return predicted
        with torch_threads(self.threads), bundle_errors():
            return {name: value.numpy() for name, value in opened.run(arrays).items()}

    def _features(self, component: Component, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """What ``MLModel.predict`` takes: arrays, and an image where the package wants one."""
        if component != "encoder" or self.bundle.manifest.options.get("input") != "image":
            return arrays
        pixels = arrays["image"][0].transpose(1, 2, 0).astype(np.uint8)
        return {**arrays, "image": Image.fromarray(pixels)}

    def watch_half(
        self,
        component: Component,
        prepare: Callable[[], Arrays],
        observe: Callable[[str, Tensor], None],
    ) -> bool:
        program = self._opened[component]
        if not isinstance(program, CoreMLProgram) or program.precision != "fp16":
            return False

        def tell(evaluated: Evaluation) -> None:
            outputs = program.ops[evaluated.place].outputs
            for tensor, value in zip(outputs, evaluated.outputs, strict=True):
                if tensor.dtype == "fp16":
                    observe(tensor.name, value)

        with torch_threads(self.threads), bundle_errors():
            program.run(prepare(), tell)
        return True


_DTYPES = {"fp16": "float16", "fp32": "float32"}
"""Core ML's names of floats, as the contract has them; those of integers are the same."""


def types_of_program(program: CoreMLProgram) -> tuple[TensorTypes, TensorTypes]:
    """Inputs and outputs of a package, by its own names."""
    return _types(program.inputs), _types(program.outputs)


def _types(tensors: tuple[ProgramTensor, ...]) -> dict[str, TensorType]:
    """Of the file: a run gives float16 as float32."""
    return {t.name: TensorType(t.shape, _DTYPES.get(t.dtype, t.dtype)) for t in tensors}
