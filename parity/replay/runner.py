"""A runner that answers from what was recorded elsewhere, found by the inputs that were given."""

import hashlib
from collections import deque
from collections.abc import Callable

import numpy as np

from mobilesam.bundle.contract import Component
from mobilesam.errors import BundleError
from mobilesam.runtimes.base import Arrays, BundleRunner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.checked import difference, shapes_of

Load = Callable[[], dict[str, np.ndarray]]


class ReplayRunner(BundleRunner):
    """Gives each recorded answer once, to exactly the inputs that it was recorded for.

    Args:
        bundle: the opened bundle.
        engine: where it ran, and on what.
        error: why it could not be run there; :meth:`load` raises it. Empty if it could.
    """

    name = "replay"

    def __init__(self, bundle: Bundle, engine: str = "", error: str = "") -> None:
        super().__init__(bundle)
        self._engine = engine
        self._error = error
        self._recorded: dict[str, deque[Load]] = {}

    @property
    def engine(self) -> str:
        return self._engine

    def load(self) -> None:
        """Raises BundleError with what the other machine said, if it could not run the bundle."""
        if self._error:
            raise BundleError(self._error)

    def unload(self) -> None:
        self._recorded = {}

    def record(self, component: Component, inputs: Arrays, answer: Load) -> None:
        """Remember an answer, read from disk when it is asked for."""
        self._recorded.setdefault(self._key(component, inputs), deque()).append(answer)

    def run(self, component: Component, inputs: Arrays) -> dict[str, np.ndarray]:
        """The recorded answer.

        Raises:
            BundleError: there is none to these inputs, or it is not of the contract's shapes.
        """
        recorded = self._recorded.get(self._key(component, inputs))
        if not recorded:
            raise BundleError(
                f"the {component} was not asked this on the other machine: pack again with this "
                "version of mobilesam-export"
            )
        outputs = recorded.popleft()()
        problem = difference(shapes_of(outputs), self.bundle.manifest.signatures[component].outputs)
        if problem:
            raise BundleError(f"the {component} did not answer as its manifest says: {problem}")
        return outputs

    def _key(self, component: Component, inputs: Arrays) -> str:
        total = hashlib.sha256(component.encode())
        for spec in self.contract.signature(component).inputs:
            total.update(np.ascontiguousarray(inputs[spec.name], np.float32).tobytes())
        return total.hexdigest()
