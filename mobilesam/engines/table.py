"""The table of engines."""

from mobilesam.engines.base import Engine
from mobilesam.engines.inline import InlineEngine
from mobilesam.engines.local import LocalEngine
from mobilesam.engines.ray_cluster import RayEngine
from mobilesam.errors import InputError

ENGINES = ("local", "ray")


def engine_of(
    name: str | None, *, workers: int | None = None, address: str | None = None, gpus: int = 0
) -> Engine:
    """An engine by its name.

    Args:
        name: of :data:`ENGINES`; None works in this process.
        workers: how many; None for as many as there are cores.
        address: of a Ray cluster; None for that in RAY_ADDRESS, or else a new one on this machine
            alone.
        gpus: that a worker needs.

    Raises:
        InputError: there is none such, or it has no use for an argument.
        MissingDependencyError: it needs a package that is not installed.
    """
    if name is None:
        if workers is not None or address is not None:
            raise InputError("workers are an engine's: name one, " + " or ".join(ENGINES))
        return InlineEngine()
    if name not in ENGINES:
        raise InputError(f"there is no engine '{name}': {' and '.join(ENGINES)} are known")
    if workers is not None and workers < 1:
        raise InputError(f"at least one worker is needed, not {workers}")
    if name == "ray":
        return RayEngine(workers, address, gpus)
    if address is not None:
        raise InputError("an address is of a Ray cluster: take the engine ray with it")
    return LocalEngine(workers)
