"""The table of engines."""

from mobilesam.engines.base import Engine
from mobilesam.engines.local import LocalEngine
from mobilesam.errors import InputError

ENGINES = ("local",)


def engine_of(name: str, *, workers: int | None = None) -> Engine:
    """An engine by its name.

    Args:
        name: of :data:`ENGINES`.
        workers: how many; None for as many as there are cores.

    Raises:
        InputError: there is none such, or it has no use for an argument.
    """
    if name not in ENGINES:
        raise InputError(f"there is no engine '{name}': {' and '.join(ENGINES)} are known")
    if workers is not None and workers < 1:
        raise InputError(f"at least one worker is needed, not {workers}")
    return LocalEngine(workers)
