"""ExecuTorch programs for Apple: the Core ML package inside the ``.pte`` is taken out and run.

ExecuTorch's wheel for Linux writes such programs and cannot run them. What its delegate would hand
to Core ML is in the file: a package, and the names under which it takes and gives the method's
tensors.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from mobilesam.bundle.contract import Component
from mobilesam.bundle.paths import path_problem
from mobilesam.errors import BundleError
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import TensorType, TensorTypes, first_line
from mobilesam.runtimes.coreml import CoreMLRunner, types_of_program
from mobilesam.runtimes.executorch import SCALAR_TYPES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of torchao, about enums
    from executorch.exir._serialize._program import deserialize_pte_binary

_IDENTIFIER = b"ET12"
_BACKEND = "CoreMLBackend"
_PACKAGE, _METADATA = "model.mlpackage", "metadata.json"
_FILE = 0
"""Of the kinds of nodes; the other is a folder."""
_LONGEST_INDEX = 1 << 20


class CoreMLDelegate(NamedTuple):
    """A program whose one method is one call of Core ML.

    Attributes:
        method: its name.
        inputs, outputs: for each of the method's tensors, in its order: what the package calls it,
            and what the method declares of it.
        files: contents by path, ``model.mlpackage/...`` among them.
    """

    method: str
    inputs: tuple[tuple[str, TensorType], ...]
    outputs: tuple[tuple[str, TensorType], ...]
    files: dict[str, bytes]


@contextmanager
def package_of(path: Path) -> Iterator[tuple[CoreMLDelegate, Path]]:
    """The delegate of a ``.pte``, and its package in a folder that lasts as long as the block.

    Raises:
        BundleError: the file cannot be read, or is not one call of Core ML.
    """
    delegate = read_delegate(path)
    with TemporaryDirectory(prefix="mobilesam-") as folder:
        yield delegate, _unpack(delegate, Path(folder))


def read_delegate(path: Path) -> CoreMLDelegate:
    """Read a ``.pte``.

    Raises:
        BundleError: it cannot be read, or is not one call of Core ML.
    """
    content = path.read_bytes()
    if content[4:8] != _IDENTIFIER:
        raise BundleError(f"{path} is no ExecuTorch program, export the bundle again")
    try:
        return _delegate(deserialize_pte_binary(content).program)
    except Exception as error:  # whatever a damaged flatbuffer makes of its reader
        raise BundleError(
            f"{path} holds no program that Core ML runs whole ({first_line(error)}), export the "
            "bundle again"
        ) from error


def _delegate(program: Any) -> CoreMLDelegate:
    (plan,) = program.execution_plan
    backends = [delegate.id for delegate in plan.delegates]
    if backends != [_BACKEND]:
        kinds = ", ".join(dict.fromkeys(backends)) or "none"
        raise ValueError(f"it has {len(backends)} delegates, of the backend {kinds}")
    calls = [i.instr_args for chain in plan.chains for i in chain.instructions]
    if len(calls) != 1 or not hasattr(calls[0], "delegate_index"):
        raise ValueError(f"it has {len(calls)} instructions, not one call of its delegate")
    data = program.backend_delegate_data[plan.delegates[0].processed.index].data
    files = _files(bytes(data))
    names = json.loads(files[_METADATA])
    taken, given = names["inputNames"], names["outputNames"]
    called = dict(zip(calls[0].args, [*taken, *given], strict=True))
    ends = [plan.inputs, plan.outputs]
    if sorted(called) != sorted([*plan.inputs, *plan.outputs]) or len(taken) != len(plan.inputs):
        raise ValueError("its delegate does not take and give what its method does")
    inputs, outputs = (
        tuple((called[number], _type(plan.values[number].val)) for number in end) for end in ends
    )
    return CoreMLDelegate(plan.name, inputs, outputs, files)


def _type(tensor: Any) -> TensorType:
    return TensorType(tuple(tensor.sizes), SCALAR_TYPES.get(int(tensor.scalar_type), "?"))


def _files(content: bytes) -> dict[str, bytes]:
    """The files of a flattened folder: their contents, then an index in JSON, backwards.

    Source: ``backends/apple/coreml/runtime/inmemoryfs`` of ExecuTorch.
    """
    index, _ = json.JSONDecoder().raw_decode(content[-_LONGEST_INDEX:][::-1].decode("latin-1"))
    nodes = index["nodes"]
    found: dict[str, bytes] = {}
    contained = {child for node in nodes for child in node["children"].values()}
    (root,) = {*range(len(nodes))} - contained
    waiting = [("", root)]
    for _ in nodes:  # each is in one folder, so that there are no more steps than nodes
        if not waiting:
            break
        path, number = waiting.pop()
        node = nodes[number]
        if node["kind"] == _FILE:
            region = node["dataRegion"]
            end = region["offset"] + region["size"]
            if problem := path_problem(path):
                raise ValueError(f"a path in its package {problem}")
            if region["offset"] < 0 or end > len(content):
                raise ValueError(f"'{path}' in it is cut off")
            found[path] = content[region["offset"] : end]
        else:
            prefix = f"{path}/" if path else ""
            waiting += [(prefix + name, child) for name, child in node["children"].items()]
    return found


def _unpack(delegate: CoreMLDelegate, folder: Path) -> Path:
    for path, content in delegate.files.items():
        if path.startswith(f"{_PACKAGE}/"):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return folder / _PACKAGE


class ExecuTorchCoreMLRunner(CoreMLRunner):
    """The package inside the program, run as the Core ML runner runs packages."""

    name = "executorch_coreml"

    @property
    def engine(self) -> str:
        return f"{super().engine}: the package inside the ExecuTorch program"

    def load(self) -> None:
        self._folder = TemporaryDirectory(prefix="mobilesam-")
        self._delegates: dict[Component, CoreMLDelegate] = {}
        super().load()

    def unload(self) -> None:
        super().unload()
        self._folder.cleanup()

    def open_file(self, component: Component, path: Path) -> object:
        delegate = read_delegate(path)
        signature = self.bundle.manifest.signatures[component]
        if delegate.method != signature.name:
            raise BundleError(
                f"{path} has no method '{signature.name}' but '{delegate.method}': it is no "
                f"{component}"
            )
        self._delegates[component] = delegate
        self._check_method(component, path, delegate)
        package = _unpack(delegate, Path(self._folder.name) / component)
        try:
            return self.open_package(component, package)
        except BundleError as error:
            text = str(error).replace(str(package), f"{path} (the Core ML package inside)")
            raise BundleError(text) from error

    def _check_method(self, component: Component, path: Path, delegate: CoreMLDelegate) -> None:
        signature = self.bundle.manifest.signatures[component]
        for found, specs in (
            (delegate.inputs, signature.inputs),
            (delegate.outputs, signature.outputs),
        ):
            if len(found) != len(specs):
                raise BundleError(
                    f"{path} is not what its manifest says: its method has {len(found)} inputs or "
                    f"outputs, not {len(specs)}"
                )
        inputs, outputs = (
            {spec.name: kind for spec, (_, kind) in zip(specs, found, strict=True)}
            for specs, found in (
                (signature.inputs, delegate.inputs),
                (signature.outputs, delegate.outputs),
            )
        )
        self.check_declared(component, path, inputs, outputs)

    def declared(self, component: Component, program: Any) -> tuple[TensorTypes, TensorTypes]:
        """Inputs and outputs of the package, by the contract's names."""
        inputs, outputs = self._renamed(component)
        own = {there: name for name, there in inputs.items()}
        taken, given = types_of_program(program)
        return (
            {own.get(name, name): kind for name, kind in taken.items()},
            {outputs.get(name, name): kind for name, kind in given.items()},
        )

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        _, outputs = self._renamed(component)
        answer = super().execute(component, dict(self._given(component, arrays)))
        return {outputs.get(name, name): value for name, value in answer.items()}

    def watch_half(
        self,
        component: Component,
        prepare: Callable[[], Arrays],
        observe: Callable[[str, Tensor], None],
    ) -> bool:
        return super().watch_half(component, lambda: self._given(component, prepare()), observe)

    def _given(self, component: Component, arrays: Arrays) -> Arrays:
        inputs, _ = self._renamed(component)
        return {inputs[name]: value for name, value in arrays.items()}

    def _renamed(self, component: Component) -> tuple[dict[str, str], dict[str, str]]:
        """The package's name of each input, and the contract's of each output."""
        signature, delegate = self.bundle.manifest.signatures[component], self._delegates[component]
        inputs = zip(signature.inputs, delegate.inputs, strict=True)
        outputs = zip(signature.outputs, delegate.outputs, strict=True)
        return (
            {spec.name: there for spec, (there, _) in inputs},
            {there: spec.name for spec, (there, _) in outputs},
        )
