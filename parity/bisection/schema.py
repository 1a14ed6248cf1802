"""What ``mobilesam bisect`` finds, as data: ``bisect.json`` is this, versioned."""

import math
from typing import Literal

from mobilesam.bundle.contract import Component
from parity.schema import ReportRecord
from parity.thresholds import LayerLimits

BISECT_SCHEMA_VERSION = "1.0"


class OpRecord(ReportRecord):
    """One op of a file held against the model. Errors are relative L2, or null where unknown.

    Attributes:
        index: place in the program's order, from 0.
        name: of the value it gives, of the first if several.
        module: dotted path in the model of what the op computes; of its neighbour if not aligned.
        aligned: its outputs are nodes of the captured model, so that errors are known.
        finite: no value is infinite or not a number that is not so in PyTorch.
        largest: the largest |value| it gives; null unless it gives floats, all finite.
        headroom_bits: of that in float16; null for what a float16 file keeps in float32.
        error_before, error_after: of what it reads and gives, in a run of the whole file.
        local_error: of what it gives when it is fed PyTorch's own values.
        rounding_error: what rounding alone may cause of the local error.
        excess: the local error over what rounding may cause, in L2 or at the worst element.
    """

    index: int
    name: str
    op_type: str
    module: str
    aligned: bool
    finite: bool
    largest: float | None
    headroom_bits: float | None
    error_before: float | None
    error_after: float | None
    local_error: float | None
    rounding_error: float | None
    excess: float | None

    @property
    def rank(self) -> float:
        """What ops are sorted by, the worst first: excess, else how much the error grew."""
        if not self.finite:
            return math.inf
        if self.excess is not None:
            return math.inf if math.isnan(self.excess) else self.excess
        if self.error_after is None:
            return 0.0
        return self.error_after - (self.error_before or 0.0)


class Fault(ReportRecord):
    """The first op that is wrong.

    Attributes:
        op: that op.
        cause: in words.
        span: names of the ops, in order, of which one is the fault: the op itself, and before it
            those that could not be aligned.
    """

    op: OpRecord
    cause: str
    span: list[str]


class ComponentRecord(ReportRecord):
    """One file of the bundle."""

    component: Component
    file: str
    engine: str
    ops: list[OpRecord]
    fault: Fault | None = None

    @property
    def aligned(self) -> int:
        """Ops whose outputs are nodes of the model."""
        return sum(op.aligned for op in self.ops)

    @property
    def tightest(self) -> OpRecord | None:
        """The op with the least headroom."""
        known = [op for op in self.ops if op.headroom_bits is not None]
        return min(known, key=lambda op: _low(op.headroom_bits), default=None)

    @property
    def worst(self) -> OpRecord | None:
        """The op with the largest local error, or with the largest jump where none is known."""
        known = [op for op in self.ops if op.local_error is not None]
        if known:
            return max(known, key=lambda op: op.local_error or 0.0)
        return max((op for op in self.ops if op.aligned), key=lambda op: op.rank, default=None)


class BisectData(ReportRecord):
    """One bundle on one runtime against PyTorch, op by op; what ``bisect.json`` holds.

    Attributes:
        limits: beyond which an op is a fault; null where its scheme changes weights on purpose, so
            that ops are ranked and only values that are not finite are faults.
        prompt: the decoder's, in words.
    """

    schema_version: str = BISECT_SCHEMA_VERSION
    created: str
    tool_version: str
    bundle: str
    path: str
    target: str
    scheme: str
    runtime: str
    weights: str
    image: str
    prompt: str
    limits: LayerLimits | None
    notes: list[str] = []
    components: list[ComponentRecord]
    conclusion: str = ""

    @property
    def verdict(self) -> Literal["no fault", "fault"]:
        """Whether any file has a fault."""
        return "fault" if any(part.fault for part in self.components) else "no fault"


def _low(bits: float | None) -> float:
    return -math.inf if bits is None or math.isnan(bits) else bits
