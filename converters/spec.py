"""What one bundle is to be: everything that an export of it depends on, in one value."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

from converters.lookup import is_calibrated, row_of
from converters.plan import Plan
from converters.schemes import Target
from mobilesam.bundle.contract import Contract, InputVariant, Masks
from mobilesam.bundle.manifest import WeightsRecord

MIN_MAX = "min-max"


class TargetOptions(BaseModel):
    """What an export to a target can be asked for beside the scheme: here, nothing.

    A target with options of its own subclasses it in its own folder, and its module's ``Options``
    names that class.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def lowered_to(self) -> str:
        """Which of its row's ``backends`` the target is exported to; empty: the usual one."""
        return ""

    def offers(self, scheme: str) -> bool:
        """Whether the target has a scheme with these options."""
        return True

    def taking(self, input_variant: InputVariant) -> Self:
        """The options with which the target takes an input variant."""
        return self

    def check(
        self, schemes: Sequence[str], input_variant: InputVariant, masks: Masks = "low_res"
    ) -> None:
        """Refuse options that do not fit together, or not what is exported.

        Args:
            schemes: of the target, to be exported; may be none.
            input_variant, masks: of the export.

        Raises:
            InputError: says which, and what would.
        """

    def contract(self, contract: Contract) -> Contract:
        """An export's contract as the target's bundles follow it."""
        return contract


class CalibrationOptions(BaseModel):
    """How ranges are found.

    Attributes:
        folder: of photos; None: those of scikit-image that bundles are not judged on.
        names: of the folder's photos that are used; None: every one that Pillow recognises.
        method: ``min-max`` takes the least and greatest value seen; ``moving-average`` averages
            those of single samples; ``mse`` and ``entropy`` cut a histogram where the squared
            error, or the divergence of what is left, is least. A target's row says which it has.
    """

    model_config = ConfigDict(frozen=True)

    folder: Path | None = None
    names: tuple[str, ...] | None = None
    method: str = MIN_MAX


class DistilledRecord(BaseModel):
    """What a manifest says of tuned weights: the file's name and the SHA-256 of its bytes."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str

    @property
    def settings(self) -> dict[str, str]:
        """The record as options of a manifest."""
        return {"distilled": self.name, "distilled_sha256": self.sha256}


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """One bundle.

    Attributes:
        target, scheme: a row of the table, or a target and ``mixed``.
        variant: of the model, as ``MobileSAM.variant``.
        weights: those that the bundle claims to answer as.
        contract: that the target's bundles follow.
        options: the target's own.
        calibration: of a scheme that is calibrated.
        plan: of scheme ``mixed``.
        distilled: file that the image encoder is from; ``weights`` are its teacher's.
    """

    target: str
    scheme: str
    variant: str
    weights: WeightsRecord
    contract: Contract
    options: TargetOptions = TargetOptions()
    calibration: CalibrationOptions = CalibrationOptions()
    plan: Plan | None = None
    distilled: DistilledRecord | None = None

    @property
    def name(self) -> str:
        """Target and scheme, as in ``coreml-fp16``."""
        return f"{self.target}-{self.scheme}"

    @property
    def row(self) -> Target:
        """The target's, or that of the backend that its options name."""
        return row_of(self.target, self.options.lowered_to())

    @property
    def calibrated(self) -> bool:
        """Whether ranges come from photos."""
        return is_calibrated(self.target, self.scheme, self.plan)
