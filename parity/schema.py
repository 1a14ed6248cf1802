"""The report as data: what a run measured, and what every page and table is drawn from.

``report.json`` is this, versioned, with the trade-offs that :class:`parity.report.Report` derives.
Numbers that do not exist (an IoU of a degenerate mask, a PSNR of equal arrays) are null, never
invented.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, WithJsonSchema

from mobilesam.bundle.manifest import Record

SCHEMA_VERSION = "1.6"


def _null_is_nan(value: Any) -> Any:
    return float("nan") if value is None else value


Number = Annotated[
    float,
    BeforeValidator(_null_is_nan),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "null"}]}),
]
"""A figure that always exists; not-a-number and infinity travel as null and come back as NaN."""

Stage = Literal["integrity", "encoder", "decoder", "end_to_end"]


class ReportRecord(Record):
    """Base of the report: filled in as a run goes on; not-a-number is written as null."""

    model_config = ConfigDict(frozen=False, ser_json_inf_nan="null")


class EncoderMetrics(ReportRecord):
    """Exported image embedding of one image against the reference's."""

    image: str
    finite: bool
    max_abs_error: Number
    relative_l2: Number
    channel_relative_l2: float | None = None
    """Relative L2 of the channel with the largest; null in reports older than 1.2."""
    cosine: Number
    psnr_db: float | None


class MaskMetrics(ReportRecord):
    """One of the four masks of a case, or the one that the file itself chose.

    ``mask_iou`` and ``boundary_iou`` are null where the reference mask is degenerate (see
    ``parity.cases``). Logit errors are over the low-res logits.
    """

    channel: int
    mask_iou: float | None
    boundary_iou: float | None
    logit_max_abs_error: Number
    logit_relative_l2: Number
    iou_prediction_error: Number


class CaseMetrics(ReportRecord):
    """One case (image and prompt) at one stage.

    Attributes:
        stage: ``decoder`` feeds the reference's embedding, ``end_to_end`` the exported encoder's.
        finite: every output value is finite.
        chosen_reference, chosen_export: which mask each of the two would show.
        shown_iou: IoU of the mask that the export shows with the one that the reference shows; null
            if both are degenerate. Before 1.4: of the same channel in both.
        human_iou_reference, human_iou_export: IoU of the shown masks with the human-made mask.
        upscaling_relative_l2: of a file that makes logits at the photo's size: how far these are
            from its own low-res logits, brought there; else null.
        mask_disagreement: of a file that gives a mask in the frame: the largest of its own low-res
            logits, brought there, at a pixel where they say otherwise, over their root mean square;
            infinite if a value is neither 0 nor 255; else null.
    """

    image: str
    prompt: str
    prompt_type: str
    stage: Stage
    finite: bool
    degenerate: bool
    masks: list[MaskMetrics]
    chosen_reference: int
    chosen_export: int
    shown_iou: float | None
    human_iou_reference: float | None = None
    human_iou_export: float | None = None
    upscaling_relative_l2: float | None = None
    mask_disagreement: Number | None = None


class Check(ReportRecord):
    """One threshold applied: what was measured, what was asked, and where it was worst."""

    metric: str
    stage: Stage
    value: float | None
    comparison: Literal[">=", "<=", "=="]
    threshold: float
    passed: bool
    where: str = ""


class Timing(ReportRecord):
    """Seconds of one component after warm-up.

    Attributes:
        median_s: median of the rounds' medians.
        p90_s: 90th percentile of the runs, every round counting the same.
        rounds_s: median of each round, in which every component of its batch ran once in turn, so
            that the rounds of two of a batch can be compared one by one; empty where it was timed
            alone, and in reports older than 1.4.
        batch: components with the same number took turns.
    """

    median_s: float
    p90_s: float
    runs: int
    rounds_s: list[float] = []
    batch: int | None = None


class Measurement(ReportRecord):
    """Cost of one component, measured in a process of its own; memory is null if unknown."""

    component: Literal["encoder", "decoder"]
    load_s: float
    timing: Timing
    peak_memory_mb: float | None
    baseline_memory_mb: float | None
    threads: int
    delegate_partitions: int | None = None
    representative: bool = True
    """False where this machine emulates (Core ML off a Mac): the time says nothing of a phone."""


class OpRange(ReportRecord):
    """The largest |value| that an op of a float16 file gives; see ``parity.headroom``.

    Both figures are null of integers, where a value is not finite, and ``headroom_bits`` also where
    all are zero. ``overflow`` says what the op gave instead of numbers that float16 can hold; null
    where it gave none, and in reports older than 1.4.
    """

    name: str
    largest: float | None
    headroom_bits: float | None
    overflow: Literal["infinity", "not a number"] | None = None


class Headroom(ReportRecord):
    """How near the ops of one float16 file come to an overflow, on one image, in their order.

    The image, and of a decoder the prompt, is one whose outputs were not finite if there is such.
    """

    component: Literal["encoder", "decoder"]
    image: str
    prompt: str = ""
    """Empty in reports older than 1.4."""
    ops: list[OpRange]

    @property
    def overflowed(self) -> list[OpRange]:
        """The ops that gave infinity or not-a-number; the first is where the overflow began."""
        return [op for op in self.ops if op.overflow is not None]

    @property
    def least(self) -> OpRange | None:
        """The op with the least headroom: the first that overflowed, if any did."""
        if self.overflowed:
            return self.overflowed[0]
        known = [op for op in self.ops if op.headroom_bits is not None]
        return min(known, key=lambda op: op.headroom_bits or 0.0, default=None)


class WeightAudit(ReportRecord):
    """The constants of one component's file held against PyTorch's parameters.

    Attributes:
        parameters: elements of all parameters that act on the answer.
        accounted: of those whose constants were found in the file.
        missing: what was not found, by name.
        wrong: a sentence for each tensor that is not within what its storage may round.
        excess: the largest error over what is allowed, at most 1 where all is right.
        where: the tensor with it.
        left_out: why nothing was audited; empty where it was.
    """

    component: Literal["encoder", "decoder"]
    parameters: int = 0
    accounted: int = 0
    missing: list[str] = []
    wrong: list[str] = []
    excess: Number = 0.0
    where: str = ""
    left_out: str = ""


class ActivationAudit(ReportRecord):
    """Scales and zero points of one component's file held against the ranges of its calibration.

    Attributes:
        total: activations with a scale.
        held: of those for which the manifest has a range.
        loose: names of the others, in the file.
        wrong: a sentence for each whose scale and zero point are not the range's.
        excess: the largest error over what is allowed, at most 1 where all is right.
        where: the place in the model that has it.
        left_out: why nothing was held; empty where it was.
    """

    component: Literal["encoder", "decoder"]
    total: int = 0
    held: int = 0
    loose: list[str] = []
    wrong: list[str] = []
    excess: Number = 0.0
    where: str = ""
    left_out: str = ""


class BundleReport(ReportRecord):
    """Everything about one bundle on one runtime, the verdict first."""

    bundle: str
    path: str
    target: str
    scheme: str
    runtime: str
    engine: str
    weights: str
    image_size: int | None = None
    """S of the encoder; null in reports older than 1.2."""
    least_tested: str = ""
    """Oldest version of the runtime on which such files gave right masks; empty if not stated."""
    hardware: str = ""
    """What computed, one of ``mobilesam.runtimes.table.HARDWARE``; empty before 1.5."""
    manifest_sha256: str = ""
    """Of the manifest of the bundle that was judged; empty before 1.6."""
    refused: str = ""
    """What the runtime refuses, such as an op's name, where it does not take the files at all."""
    verdict: Literal["PASS", "FAIL"]
    reasons: list[str]
    checks: list[Check]
    size_bytes: dict[str, int]
    """By component; one file that holds both counts as the encoder's."""
    notes: list[str] = []
    """What was not judged, and why."""
    encoder: list[EncoderMetrics] = []
    cases: list[CaseMetrics] = []
    measurements: list[Measurement] = []
    headroom: list[Headroom] = []
    """Of float16 files, where the runtime can be looked into."""
    weight_audits: list[WeightAudit] = []
    """Of each component; empty in a report of answers that came from another machine."""
    activation_audits: list[ActivationAudit] = []
    """Of each component of a calibrated scheme; empty for any other."""
    worst_case: str | None = None
    worst_picture: str | None = None
    """The worst case drawn, as a data URI: photo with prompt, reference mask, exported mask."""


class Tradeoff(ReportRecord):
    """What one bundle on one runtime costs, and what it gives up; see ``parity.report.tradeoff``.

    Attributes:
        bundle: its name; with its folder where another bundle has the same target and scheme.
        size_mb: encoder and decoder, in 10^6 bytes.
        mask_iou: mean, end to end, over all masks that are not degenerate.
        drop: 1 - mask_iou.
        human_drop: mean IoU with human-made masks of the reference's shown masks minus that of the
            export's, over the same cases, end to end; negative where the export is the nearer.
        encoder_s: median; null if it was not measured, or says nothing of a device.
        slower: a quantized encoder's median over the fp32 one's, where it is longer by more than
            the measurement can be off.
        slower_low, slower_high: the interval that ``slower`` lies in.
        on_size_front, on_latency_front: whether none that passes is better in one and at least
            equal in the other of cost and mask_iou. What fails is on neither, what is slower than
            fp32 never on that of latency. Latencies that differ by no more than the measurement
            can be off are equal.
    """

    bundle: str
    runtime: str
    size_mb: float | None = None
    mask_iou: float | None = None
    drop: float | None = None
    human_drop: float | None = None
    encoder_s: float | None = None
    slower: float | None = None
    slower_low: float | None = None
    slower_high: float | None = None
    on_size_front: bool = False
    on_latency_front: bool = False


class GalleryPicture(ReportRecord):
    """A photo with a prompt and one mask drawn on it.

    Attributes:
        mask: which of the four masks.
        predicted_iou: what the model expects its IoU to be.
        picture: JPEG as a data URI.
    """

    mask: int
    predicted_iou: Number
    picture: str


class GalleryPhoto(ReportRecord):
    """What the reference draws for one object in one photo.

    Attributes:
        subject: the object, in words.
        clicks: points that the click prompt has, all on the object.
        click, box: the mask SAM would show for each prompt.
        multimask: the click's three answers, masks 1 to 3.
    """

    photo: str
    subject: str
    clicks: int
    click: GalleryPicture
    box: GalleryPicture
    multimask: list[GalleryPicture]


class UnusableImage(ReportRecord):
    """A photo that was left out, and why, in one sentence."""

    image: str
    reason: str


class ReportData(ReportRecord):
    """One run over any number of bundles."""

    schema_version: str = SCHEMA_VERSION
    created: str
    tool_version: str
    machine: dict[str, str]
    weights: dict[str, str]
    images: list[str]
    unusable_images: list[UnusableImage] = []
    """Photos of the folder that could not be used, so that nothing was judged on them."""
    warnings: list[str] = []
    """What this run cannot tell, a sentence each: faults that no photo shows, a busy machine."""
    prompt_types: list[str]
    degenerate_rule: str
    thresholds_file: str
    command: str = ""
    """The command line that makes this report again."""
    reference: list[Measurement] = []
    gallery: dict[str, str] = {}
    """Pictures of the reference's own masks, title to data URI."""
    gallery_photos: list[GalleryPhoto] = []
    """Pictures of what the weights draw on the built-in photos; empty unless asked for."""
    bundles: list[BundleReport]

    @property
    def passed(self) -> bool:
        """Whether every verdict passes; an empty report does not."""
        return bool(self.bundles) and all(b.verdict == "PASS" for b in self.bundles)

    @property
    def right_where_taken(self) -> bool:
        """Whether every bundle passes that its runtime does not refuse, and there is one."""
        taken = [b.verdict for b in self.bundles if b.verdict == "PASS" or not b.refused]
        return bool(taken) and all(verdict == "PASS" for verdict in taken)
