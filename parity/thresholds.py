"""Limits of every scheme, read from a TOML file and checked."""

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from converters.lookup import combinations
from converters.schemes import MIXED
from mobilesam.bundle.prompt_types import PromptType
from mobilesam.errors import ThresholdError
from mobilesam.runtimes.table import ARM, RUNNERS, hardware_of

DEFAULT_FILE = Path(__file__).with_name("thresholds.toml")

Positive = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


class Limits(BaseModel):
    """Base of a table: every key is needed, unknown ones are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderLimits(Limits):
    """For the image embedding; what each means is said in ``thresholds.toml``."""

    relative_l2: Positive
    channel_relative_l2: Positive
    cosine: Share
    psnr_db: Positive


class PromptTypeLimits(Limits):
    """For the masks of one kind of prompt, in place of what holds for the others."""

    logits_relative_l2: Positive
    mask_iou_min: Share
    prompt_type_iou_mean: Share


class MaskLimits(Limits):
    """For the masks of the decoder alone, or end to end."""

    logits_relative_l2: Positive
    mask_iou_min: Share
    mask_iou_mean: Share
    boundary_iou_mean: Share
    prompt_type_iou_mean: Share
    shown_iou_mean: Share
    shown_iou_p5: Share
    shown_differs: Share
    iou_prediction: Positive
    prompt_types: dict[PromptType, PromptTypeLimits] = {}


class LayerLimits(Limits):
    """For a single op that is fed PyTorch's values; see :mod:`parity.bisection.op_errors`."""

    excess: Positive
    relative_l2: Positive


class Row(Limits):
    """The limits of one scheme; without ``layers`` its ops are ranked, none is called wrong.

    Attributes:
        own_weights: the scheme whose limits hold against PyTorch with the file's own weights; None
            where activations are quantized too, so that there is no such scheme.
    """

    encoder: EncoderLimits
    decoder: MaskLimits
    end_to_end: MaskLimits
    layers: LayerLimits | None = None
    own_weights: str | None = None


class _Scheme(NamedTuple):
    """What the file says of a scheme, with what targets and runtimes have of their own.

    Attributes:
        arm: of targets, where an ARM CPU runs the files.
        runtimes: tables, or the name of the scheme whose limits hold on that runtime.
    """

    table: dict[str, Any]
    targets: dict[str, Any]
    arm: dict[str, Any]
    runtimes: dict[str, Any]


class Thresholds:
    """Every row of a thresholds file.

    Args:
        path: a TOML file like ``parity/thresholds.toml``; None reads that one.

    Attributes:
        name: the file's as it was given, or ``parity/thresholds.toml``.

    Raises:
        ThresholdError: the file cannot be read, or holds something it should not.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or DEFAULT_FILE
        self.name = str(path) if path else "/".join(DEFAULT_FILE.parts[-2:])
        self._schemes: dict[str, _Scheme] = {}
        for scheme, table in self._read().items():
            self._schemes[scheme] = self._scheme(scheme, table)
        for scheme, read in self._schemes.items():
            for runtime, own in read.runtimes.items():
                if isinstance(own, str):
                    self._must_be_known(
                        "scheme", own, set(self._schemes), f"{scheme}.runtimes.{runtime}"
                    )

    def row(
        self,
        target: str,
        scheme: str,
        runtime: str | None = None,
        hardware: str | None = None,
    ) -> Row:
        """The limits for a bundle, with the values of its own that its target or runtime has.

        Args:
            target: the bundle's.
            scheme: the bundle's.
            runtime: what runs it; None: one without limits of its own.
            hardware: what that computes with, one of :data:`mobilesam.runtimes.table.HARDWARE`;
                None: what the runtime has on this machine.

        Raises:
            ThresholdError: the file has no row for the scheme.
        """
        if scheme not in self._schemes:
            known = ", ".join(self._schemes)
            raise ThresholdError(f"{self.path} has no row for scheme '{scheme}', only for {known}")
        found = self._schemes[scheme]
        override = {} if runtime is None else found.runtimes.get(runtime, {})
        if isinstance(override, str):
            return self.row(target, override, runtime, hardware)
        table = _merged(found.table, found.targets.get(target, {}))
        if runtime is not None and (hardware or hardware_of(runtime)) == ARM:
            table = _merged(table, found.arm.get(target, {}))
        return Row.model_validate(_merged(table, override))

    def _read(self) -> dict[str, Any]:
        try:
            tables = tomllib.loads(self.path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            reason = error.strerror or error
            raise ThresholdError(f"{self.path} cannot be read: {reason}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ThresholdError(f"{self.path} is not a TOML file: {error}") from None
        if not tables:
            raise ThresholdError(f"{self.path} is empty: it needs a table for each scheme")
        return tables

    def _scheme(self, scheme: str, table: Any) -> "_Scheme":
        self._must_be_known(
            "scheme", scheme, {MIXED, *(name for _, name in combinations())}, scheme
        )
        if not isinstance(table, dict):
            raise ThresholdError(f"{self.path}: '{scheme}' must be a table, [{scheme}.encoder] ...")
        own = dict(table)
        targets, arm = own.pop("targets", {}), own.pop("arm", {})
        runtimes = own.pop("runtimes", {})
        self._validated(scheme, own)
        known = {name for name, of_scheme in combinations() if of_scheme == scheme}
        for key, kind, overrides, names in (
            ("targets", "target", targets, known),
            ("arm", "target", arm, known),
            ("runtimes", "runtime", runtimes, set(RUNNERS)),
        ):
            if not isinstance(overrides, dict):
                raise ThresholdError(f"{self.path}: '{scheme}.{key}' must hold a table per {kind}")
            for name, override in overrides.items():
                place = f"{scheme}.{key}.{name}"
                self._must_be_known(kind, name, names, place)
                if kind == "target" or not isinstance(override, str):
                    self._validated(place, _merged(own, override))
        return _Scheme(own, targets, arm, runtimes)

    def _validated(self, place: str, table: Any) -> Row:
        try:
            return Row.model_validate(table)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in (place, *first["loc"]))
            known = {"extra_forbidden": "is not a known key", "missing": "is missing"}
            reason = known.get(first["type"], f"cannot be used: {first['msg']}")
            raise ThresholdError(f"{self.path}: '{key}' {reason}") from None

    def _must_be_known(self, kind: str, name: str, known: set[str], place: str) -> None:
        if name in known:
            return
        near = get_close_matches(name, sorted(known), n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known))}"
        raise ThresholdError(f"{self.path}: '{place}' names an unknown {kind}; {hint}")


def _merged(base: Any, override: Any) -> Any:
    """``base`` with the values of ``override`` in their places, table by table."""
    if not (isinstance(base, dict) and isinstance(override, dict)):
        return override
    return base | {key: _merged(base.get(key), value) for key, value in override.items()}
