"""Which bundles an export is asked for, and whether its options fit them."""

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from converters.base import converter_of
from converters.lookup import calibration_methods, known_target, require_plan, row_of
from converters.plan import Plan, read_plan
from converters.schemes import ALL, TARGETS
from converters.spec import TargetOptions
from mobilesam.bundle.contract import InputVariant
from mobilesam.errors import InputError
from mobilesam.inference.transforms import Frame
from mobilesam.model.sam import MobileSAM

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)


def planned(
    targets: Sequence[str], schemes: Sequence[str] | None
) -> tuple[Sequence[str] | None, tuple[str, Plan] | None]:
    """Tell schemes from a scheme file: the names, and the file's stem with its plan.

    Raises:
        InputError: there are several scheme files, or one that cannot be read, is for another
            target, or has the name of a scheme.
    """
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


LEAST_SIDE = 16
MOST_SHRUNK = 12
"""Photos whose sides an encoder shrinks more have too many pixels in a sum for float32."""


def check_photo_size(size: tuple[int, int], input_variant: InputVariant, image_size: int) -> None:
    """Refuse a size of photos that no encoder can be made for.

    Args:
        size: H, W.
        input_variant: of the export.
        image_size: S.

    Raises:
        InputError: says what would do, or that they are too elongated for the frame.
    """
    if input_variant != "uint8":
        raise InputError(
            "an encoder that scales photos itself takes them as the app has them: --resize needs "
            f"--input uint8, not {input_variant}"
        )
    low, high = LEAST_SIDE, MOST_SHRUNK * image_size
    if not all(low <= side <= high for side in size):
        raise InputError(
            f"the sides of photos that an encoder scales must be {low} to {high} pixels, not "
            f"{size[0]}x{size[1]} (height x width)"
        )
    Frame(size, image_size)


def check_half_embedding(
    chosen: Iterable[tuple[str, str]], asked: Mapping[str, TargetOptions]
) -> None:
    """Refuse targets and schemes whose embedding is float32.

    Args:
        chosen: pairs of target and scheme.
        asked: options of each target.

    Raises:
        InputError: says which can be float16.
    """
    for target, scheme in chosen:
        if scheme not in row_of(target, asked[target].lowered_to()).half_embedding:
            can = [
                f"{name} in {', '.join(row.half_embedding)}"
                for name, row in TARGETS.items()
                if row.half_embedding
            ]
            raise InputError(
                f"the embedding of target '{target}' in {scheme} is float32: float16 is for "
                f"programs that compute in it, {' and '.join(can)}"
            )


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


def within_limits(
    chosen: Iterable[tuple[str, str]], named: Container[str], model: MobileSAM
) -> list[tuple[str, str]]:
    """Leave out what a format cannot hold of a model, unless its target was asked for by name.

    Args:
        chosen: every (target, scheme).
        named: targets that were asked for by name.
        model: to be exported.

    Raises:
        InputError: its target was, or nothing is left; says why, and what can hold it.
    """
    found, refused = [], []
    for target, scheme in chosen:
        if reason := _too_large(target, scheme, model):
            if target in named:
                raise InputError(reason)
            refused.append(reason)
        else:
            found.append((target, scheme))
    if not found:
        raise InputError(refused[0])
    for reason in refused:
        _LOG.warning("left out: %s", reason)
    return found


def _too_large(target: str, scheme: str, model: MobileSAM) -> str:
    """Why a format cannot hold the image encoder, the larger component; empty where it can."""
    limit = TARGETS[target].limit
    if limit is None:
        return ""
    weights = sum(parameter.numel() for parameter in model.image_encoder.parameters())
    size = weights * limit.bytes_per_weight(scheme)
    if size <= limit.size_bytes:
        return ""
    others = [name for name, row in TARGETS.items() if row.limit is None]
    others += [f"{target} in {each}" for each in limit.halved if 2 * weights <= limit.size_bytes]
    return (
        f"target '{target}' cannot be exported in {scheme} from variant '{model.variant}', whose "
        f"image encoder takes {size / 1e9:.1f} GB on the way: {limit.reason}; "
        f"{', '.join(others)} can hold it"
    )


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
