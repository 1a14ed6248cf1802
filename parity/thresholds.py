"""Limits of every scheme, read from a TOML file and checked."""

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from converters.lookup import combinations
from converters.schemes import MIXED
from mobilesam.bundle.prompt_types import PromptType
from mobilesam.errors import ThresholdError

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
    """The limits of one scheme; without ``layers`` its ops are ranked, none is called wrong."""

    encoder: EncoderLimits
    decoder: MaskLimits
    end_to_end: MaskLimits
    layers: LayerLimits | None = None


class Thresholds:
    """Every row of a thresholds file.

    Args:
        path: a TOML file like ``parity/thresholds.toml``; None reads that one.

    Raises:
        ThresholdError: the file cannot be read, or holds something it should not.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or DEFAULT_FILE
        self._rows: dict[tuple[str, str | None], Row] = {}
        for scheme, table in self._read().items():
            self._add(scheme, table)

    def row(self, target: str, scheme: str) -> Row:
        """The limits for a bundle, the target's own values where it has some.

        Raises:
            ThresholdError: the file has no row for the scheme.
        """
        if (scheme, None) not in self._rows:
            known = ", ".join(name for name, of_target in self._rows if of_target is None)
            raise ThresholdError(f"{self.path} has no row for scheme '{scheme}', only for {known}")
        return self._rows.get((scheme, target)) or self._rows[scheme, None]

    def _read(self) -> dict[str, Any]:
        try:
            tables = tomllib.loads(self.path.read_text(encoding="utf-8"))
        except OSError as error:
            reason = error.strerror or error
            raise ThresholdError(f"{self.path} cannot be read: {reason}") from None
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ThresholdError(f"{self.path} is not a TOML file: {error}") from None
        if not tables:
            raise ThresholdError(f"{self.path} is empty: it needs a table for each scheme")
        return tables

    def _add(self, scheme: str, table: Any) -> None:
        self._must_be_known(
            "scheme", scheme, {MIXED, *(name for _, name in combinations())}, scheme
        )
        if not isinstance(table, dict):
            raise ThresholdError(f"{self.path}: '{scheme}' must be a table, [{scheme}.encoder] ...")
        own = dict(table)
        targets = own.pop("targets", {})
        self._rows[scheme, None] = self._validated(scheme, own)
        if not isinstance(targets, dict):
            raise ThresholdError(f"{self.path}: '{scheme}.targets' must hold a table per target")
        for target, override in targets.items():
            place = f"{scheme}.targets.{target}"
            known = {name for name, of_scheme in combinations() if of_scheme == scheme}
            self._must_be_known("target", target, known, place)
            self._rows[scheme, target] = self._validated(place, _merged(own, override))

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
