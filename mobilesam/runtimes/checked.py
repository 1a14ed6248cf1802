"""What the runners of files share: every tensor that goes in or comes out is the manifest's."""

import importlib.metadata
import os
import sys
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mobilesam.bundle.contract import Component
from mobilesam.bundle.manifest import TensorRecord
from mobilesam.bundle.tensors import Shape, listed, takes
from mobilesam.errors import BundleError, InputError
from mobilesam.runtimes.base import Arrays, BundleRunner
from mobilesam.runtimes.table import files_of

if TYPE_CHECKING:
    from torch import dtype as torch_dtype


class TensorType(NamedTuple):
    """What a tensor is, or is declared to be.

    Attributes:
        shape: None is a side that may vary.
        dtype: as the contract names them, such as ``float32``; None where any will do, or where
            the format does not say.
    """

    shape: Shape
    dtype: str | None = None


TensorTypes = Mapping[str, TensorType]
"""By name."""


class CheckedRunner(BundleRunner):
    """A runner that opens one file per component and checks tensors against the manifest.

    Subclasses implement :meth:`open_file` and :meth:`execute`, whose errors become one sentence
    that names the file.
    """

    _opened: Mapping[Component, Any] = {}

    @classmethod
    def require(cls) -> None:
        """Check that this machine has what the runtime needs beside its library.

        Raises:
            MissingDependencyError: it lacks something; the message says how to get it.
        """

    def load(self) -> None:
        """Load the files of ``self.components``; where one cannot be, nothing stays loaded.

        Raises:
            BundleError: a file is missing, damaged, or has other inputs or outputs than the
                manifest says.
        """
        opened: dict[Component, Any] = {}
        self._opened = opened
        try:
            for component in self.components:
                opened[component] = self._open(component, self.file(component))
        except BaseException:
            self.unload()
            raise

    def _open(self, component: Component, path: Path) -> object:
        try:
            with native_banners_silenced():
                return self.open_file(component, path)
        except BundleError:
            raise
        except Exception as error:  # native runtimes raise types of their own
            raise BundleError(
                f"{path} could not be loaded by {self.engine} ({first_line(error)}), "
                "export the bundle again"
            ) from error

    def unload(self) -> None:
        self._opened = {}

    def file(self, component: Component) -> Path:
        """Path of the file that is run."""
        return self.bundle.file(component, files_of(self.name))

    def run(self, component: Component, inputs: Arrays) -> dict[str, np.ndarray]:
        """Run one component.

        Args:
            component: one of ``self.components``.
            inputs: exactly the contract's inputs, in its shapes; anything numeric.

        Returns:
            Exactly the contract's outputs, float32.

        Raises:
            InputError: the inputs are not the contract's, or the component was not loaded.
            BundleError: the runtime failed, or the outputs are not the contract's: a name, a
                shape or a dtype differs.
        """
        signature = self.bundle.manifest.signatures[component]
        if component not in self._opened:
            raise InputError(f"the {component} was not loaded, only {', '.join(self.components)}")
        problem = difference(shapes_of(inputs), signature.inputs)
        if problem:
            raise InputError(f"inputs of {signature.name} are not the contract's: {problem}")
        arrays = {
            spec.name: np.ascontiguousarray(inputs[spec.name], dtype=spec.dtype)
            for spec in signature.inputs
        }
        path = self.file(component)
        try:
            raw = self.execute(component, arrays)
        except BundleError:
            raise
        except Exception as error:  # native runtimes raise types of their own
            raise BundleError(f"{path} failed in {self.engine}: {first_line(error)}") from error
        problem = difference(types_of(raw), signature.outputs)
        if problem:
            raise BundleError(f"{path} does not answer as its manifest says: {problem}")
        return {spec.name: np.asarray(raw[spec.name], np.float32) for spec in signature.outputs}

    def delegate_partitions(self, component: Component) -> int | None:
        """Pieces of the graph that a delegate took over; None where the runtime cannot say."""
        return None

    @abstractmethod
    def open_file(self, component: Component, path: Path) -> object:
        """Load one file; what is returned is kept as ``self._opened[component]``."""

    @abstractmethod
    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        """Run checked inputs of the contract's dtypes, in its order; outputs by name."""

    def name_outputs(self, component: Component, values: object) -> dict[str, np.ndarray]:
        """Torch outputs in the contract's order to arrays by name.

        Raises:
            BundleError: they are not the contract's outputs, in number, shape or dtype.
        """
        import torch  # only the runtimes that are torch load it: their memory is measured

        specs = self.bundle.manifest.signatures[component].outputs
        found = list(values) if isinstance(values, tuple | list) else [values]
        tensors = [value for value in found if isinstance(value, torch.Tensor)]
        if len(tensors) != len(specs) or len(found) != len(specs):
            path = self.file(component)
            raise BundleError(
                f"{path} does not answer as its manifest says: {len(specs)} tensor(s) were "
                f"expected, {len(found)} value(s) came"
            )
        named = {spec.name: value for spec, value in zip(specs, tensors, strict=True)}
        types = {n: TensorType(tuple(v.shape), torch_name(v.dtype)) for n, v in named.items()}
        problem = difference(types, specs)  # before NumPy, which lacks some of torch's dtypes
        if problem:
            path = self.file(component)
            raise BundleError(f"{path} does not answer as its manifest says: {problem}")
        return {name: value.numpy() for name, value in named.items()}

    def check_declared(
        self,
        component: Component,
        path: Path,
        inputs: TensorTypes,
        outputs: TensorTypes,
    ) -> None:
        """Compare names, shapes and dtypes that a file declares with the manifest's.

        Raises:
            BundleError: they differ.
        """
        signature = self.bundle.manifest.signatures[component]
        problem = difference(inputs, signature.inputs) or difference(outputs, signature.outputs)
        if problem:
            raise BundleError(f"{path} is not what its manifest says: {problem}")


def shapes_of(arrays: Arrays) -> dict[str, TensorType]:
    """Shape of each array, which may be of any dtype."""
    return {name: TensorType(tuple(np.shape(array))) for name, array in arrays.items()}


def types_of(arrays: Arrays) -> dict[str, TensorType]:
    """Shape and dtype of each array."""
    return {
        name: TensorType(tuple(np.shape(array)), np.asarray(array).dtype.name)
        for name, array in arrays.items()
    }


def torch_name(dtype: "torch_dtype") -> str:
    """A dtype of torch as the contract names it."""
    return str(dtype).removeprefix("torch.")


def difference(found: TensorTypes, specs: Iterable[TensorRecord]) -> str:
    """The first way in which tensors differ from what they should be; empty if they do not."""
    expected = {spec.name: spec for spec in specs}
    for name in expected:
        if name not in found:
            return f"'{name}' is missing, there is {', '.join(found) or 'nothing'}"
    for name, (shape, dtype) in found.items():
        if name not in expected:
            return f"'{name}' is not one of {', '.join(expected)}"
        if not takes(expected[name], shape):
            return f"'{name}' has shape {listed([shape])}, not {listed(expected[name].shapes)}"
        if dtype is not None and dtype != expected[name].dtype:
            return f"'{name}' is {dtype}, not {expected[name].dtype}"
    return ""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__


def version_of(distribution: str) -> str:
    """Installed version of a distribution, or 'unknown'."""
    try:
        return importlib.metadata.version(distribution).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


@contextmanager
def native_banners_silenced() -> Iterator[None]:
    """Keep off the terminal what runtimes print as they are imported or open a file.

    Banners, probes of the processor, libraries for GPUs. What fails is an exception all the same.
    """
    kept = {}
    for stream, text in (1, sys.stdout), (2, sys.stderr):
        if text is not None:
            text.flush()
        with suppress(OSError):  # closed: nothing of it is seen
            kept[stream] = os.dup(stream)
    with open(os.devnull, "wb") as nowhere:
        for stream in kept:
            os.dup2(nowhere.fileno(), stream)
    try:
        yield
    finally:
        for stream, copy in kept.items():
            os.dup2(copy, stream)
            os.close(copy)


@contextmanager
def torch_threads(threads: int | None) -> Iterator[None]:
    """Let PyTorch use this many threads inside; None leaves its number."""
    import torch

    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if threads is not None:
            torch.set_num_threads(before)
