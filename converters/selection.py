"""Which bundles an export is asked for, and whether its options fit them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from converters.base import converter_of
from converters.coreml.compression import minimum_ios
from converters.coreml.options import IOS_VERSIONS, CoreMLOptions
from converters.lookup import calibration_methods, require_plan
from converters.plan import Plan, read_plan
from converters.schemes import ALL, COREML, TARGETS
from mobilesam.errors import InputError

_T = TypeVar("_T")


def planned(
    targets: Sequence[str], schemes: Sequence[str] | None
) -> tuple[Sequence[str] | None, tuple[str, Plan] | None]:
    """The schemes that are no files, and of the file among them the name and the plan."""
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


def runnable(
    chosen: list[tuple[str, str]], named: Sequence[str] | None, ios: int | None
) -> list[tuple[str, str]]:
    """Without the Core ML schemes that an older system lacks and nobody asked for by name."""
    return [
        (target, scheme)
        for target, scheme in chosen
        if target != COREML or ios is None or scheme in (named or ()) or minimum_ios(scheme) <= ios
    ]


def check_options(
    chosen: Iterable[tuple[str, str]],
    coreml: CoreMLOptions,
    input_variant: str,
    jobs: int | None,
) -> None:
    """Refuse options that do not fit what is exported.

    Raises:
        InputError: says which.
    """
    if coreml.ios is not None:
        one_of("ios", coreml.ios, IOS_VERSIONS)
    if coreml.input == "image" and input_variant != "pixels":
        raise InputError(
            "a Core ML image input holds values of 0 to 255: it needs the input variant 'pixels', "
            f"not '{input_variant}'"
        )
    for target, scheme in chosen:
        converter_of(target).options(scheme, coreml)
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs must be at least 1, not {jobs}")


def check_method(targets: Iterable[str], method: str) -> None:
    """Refuse a way of calibrating that a target lacks.

    Args:
        targets: those that are calibrated.
        method: see :class:`converters.calibration.CalibrationOptions`.

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
    """The known value that equals one.

    Raises:
        InputError: there is none.
    """
    for each in known:
        if value == each:
            return each
    raise InputError(f"{name} must be one of {', '.join(map(str, known))}, not {value}")
