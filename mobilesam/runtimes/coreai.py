"""Core AI assets (``.aimodel``) in Apple's own runtime: the system's, elsewhere coreai-core's."""

import asyncio
import hashlib
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import coreai.authoring as authoring  # before the dialects and the runtime, which need it loaded
import numpy as np
from coreai.runtime import InferenceFunction, NDArray, NDArrayDescriptor, _use_os_coreai

from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError
from mobilesam.runtimes.base import Arrays
from mobilesam.runtimes.checked import CheckedRunner, TensorType, version_of

_T = TypeVar("_T")

PROGRAM = "main.mlirb"
"""File of an asset that holds its program and weights."""

DIGEST = "main.hash"
"""The SHA-256 digest of the program, 32 bytes."""


class CoreAIRunner(CheckedRunner):
    """The runtime of coreai-core, which has no choice of threads; on macOS 27 the system's own.

    Its calls are coroutines. They run in a loop of a thread of its own, since the caller's thread
    may have a loop already, in a notebook for instance.
    """

    name = "coreai"

    @property
    def representative(self) -> bool:
        return self._on_device

    @property
    def _on_device(self) -> bool:
        """Whether the system's Core AI computes, on the GPU and the Neural Engine too."""
        return bool(_use_os_coreai)

    @property
    def engine(self) -> str:
        version = version_of("coreai-core")
        if self._on_device:
            return f"Core AI of the system (coreai-core {version})"
        return f"Core AI {version} (Apple's runtime on a {sys.platform} CPU), not a device"

    def load(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="coreai")
        self._loop = asyncio.Runner()
        self._stack = AsyncExitStack()
        super().load()

    def unload(self) -> None:
        super().unload()
        self._wait_for(self._stack.aclose())
        self._thread.submit(self._loop.close).result()
        self._thread.shutdown()

    def _wait_for(self, work: Coroutine[Any, Any, _T]) -> _T:
        """What a coroutine returns or raises."""
        return self._thread.submit(self._loop.run, work).result()

    def open_file(self, component: Component, path: Path) -> InferenceFunction:
        check_asset(path)
        signature = self.bundle.manifest.signatures[component]
        asset = authoring.AIModelAsset.load(path)
        model = self._wait_for(self._stack.enter_async_context(asset.executable()))
        if signature.name not in model.function_names:
            found = ", ".join(sorted(model.function_names)) or "none"
            raise BundleError(
                f"{path} has no function '{signature.name}' but {found}: it is no {component}"
            )
        function = model.load_function(signature.name)
        about = function.desc
        inputs = {name: _type(about.input_descriptor(name)) for name in about.input_names}
        outputs = {name: _type(about.output_descriptor(name)) for name in about.output_names}
        self.check_declared(component, path, inputs, outputs)
        return function

    def execute(self, component: Component, arrays: dict[str, np.ndarray]) -> Arrays:
        function = self._opened[component]
        given = {name: NDArray(array) for name, array in arrays.items()}
        answer = self._wait_for(function(given))
        # Copied: the arrays look into memory of the runtime.
        return {name: np.array(value.numpy()) for name, value in answer.items()}


def check_asset(path: Path) -> None:
    """Check that an asset is whole: what is not crashes the runtime.

    Raises:
        BundleError: a part of it is missing or damaged.
    """
    program, digest = path / PROGRAM, path / DIGEST
    for part in (program, digest):
        if not part.is_file():
            raise BundleError(f"{path} has no file '{part.name}', export the bundle again")
    with program.open("rb") as file:
        if hashlib.file_digest(file, "sha256").digest() != digest.read_bytes():
            raise BundleError(
                f"{path} is damaged: '{PROGRAM}' is not what '{DIGEST}' says, export the bundle "
                "again"
            )


def _type(descriptor: NDArrayDescriptor) -> TensorType:
    return TensorType(tuple(descriptor.shape), descriptor.dtype)
