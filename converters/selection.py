"""Which bundles an export is asked for, and whether its options fit them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from converters.base import converter_of
from converters.lookup import calibration_methods, known_target, require_plan
from converters.plan import Plan, read_plan
from converters.schemes import ALL, TARGETS
from converters.spec import TargetOptions
from mobilesam.errors import InputError

_T = TypeVar("_T")


def planned(
    targets: Sequence[str], schemes: Sequence[str] | None
) -> tuple[Sequence[str] | None, tuple[str, Plan] | None]:
    """Tell schemes from a scheme file: the names, and the file's stem with its plan."""
    files = [name for name in schemes or () if name.endswith(".toml")]
    if schemes is None or not files:
        return schemes, None
    if len(files) > 1:
        raise InputError(f"one scheme file at a time, not {len(files)}: export them one by one")
    plan = read_plan(Path(files[0]))
    require_plan(plan.target)
    if ALL not in targets and plan.target not in targets:
        raise InputError(f"'{files[0]}' is for target {plan.target}, not {', '.join(targets)}")
    name = Path(files[0]).stem
    if name in TARGETS[plan.target].schemes:
        raise InputError(f"'{files[0]}' has the name of scheme {name}: give the file another name")
    return [name for name in schemes if name not in files], (name, plan)


def options_of(
    targets: Iterable[str], given: Mapping[str, TargetOptions]
) -> dict[str, TargetOptions]:
    """Options by target: those given, and defaults for targets without.

    Raises:
        InputError: there is no such target, or the options are another target's.
    """
    found = {}
    for target in dict.fromkeys((*targets, *given)):
        known_target(target)
        kind = converter_of(target).Options
        found[target] = given.get(target, kind())
        if type(found[target]) is not kind:
            raise InputError(
                f"the options of target '{target}' are a {kind.__name__}, not a "
                f"{type(found[target]).__name__}"
            )
    return found


def offered(
    chosen: Iterable[tuple[str, str]],
    named: Sequence[str] | None,
    options: Mapping[str, TargetOptions],
) -> list[tuple[str, str]]:
    """Leave out schemes that the target's options exclude, unless they were asked for by name."""
    return [
        (target, scheme)
        for target, scheme in chosen
        if scheme in (named or ()) or options[target].offers(scheme)
    ]


def check_method(targets: Iterable[str], method: str) -> None:
    """Refuse a way of calibrating that a target lacks.

    Args:
        targets: those that are calibrated.
        method: see :class:`converters.spec.CalibrationOptions`.

    Raises:
        InputError: says what a target has.
    """
    one_of("calibration method", method, calibration_methods())
    for target in targets:
        offered = TARGETS[target].calibration_methods
        if method not in offered:
            raise InputError(
                f"target '{target}' is calibrated by {' or '.join(offered)}, not by {method}"
            )


def one_of(name: str, value: object, known: Sequence[_T]) -> _T:
    """Check that a value is a known one, and return it typed.

    Raises:
        InputError: there is none.
    """
    for each in known:
        if value == each:
            return each
    raise InputError(f"{name} must be one of {', '.join(map(str, known))}, not {value}")
