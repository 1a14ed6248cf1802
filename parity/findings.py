"""One runner asked every case, and how far its answers are from the reference's."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mobilesam.bundle.contract import MASK_VALUE
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.transforms import MASK_THRESHOLD, Frame
from mobilesam.progress import Step
from mobilesam.runtimes.base import BundleRunner, Decoded
from parity import asking, metrics
from parity.cases import Case
from parity.photos import UNREADABLE, StoredPhoto
from parity.references import Answer, PhotoReference, logits_of, masks_of
from parity.schema import CaseMetrics, EncoderMetrics, MaskMetrics, Stage

Bools = npt.NDArray[np.bool_]

NEGLIGIBLE = 0.01
"""Share of an image's pixels: a degenerate mask that differs in fewer has no IoU."""


@dataclass(frozen=True)
class Drawn:
    """A case as both draw it: the photo and the masks [H, W] shown."""

    photo: StoredPhoto
    case: Case
    reference_mask: Bools
    exported_mask: Bools


@dataclass
class Findings:
    """Everything measured of one runner.

    Attributes:
        spreads: standard deviation of each output over the reference's, with where; 0 if constant.
        worst: the end-to-end case whose shown mask is furthest from the reference's.
    """

    encoder: list[EncoderMetrics] = field(default_factory=list)
    cases: list[CaseMetrics] = field(default_factory=list)
    spreads: list[tuple[Stage, str, float]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    worst: Drawn | None = None
    _worst_key: tuple[float, ...] | None = None

    def offer_worst(self, key: tuple[float, ...], drawn: Drawn) -> None:
        """Keep the case with the lowest key."""
        if self._worst_key is None or key < self._worst_key:
            self._worst_key, self.worst = key, drawn

    def add(self, further: "Findings") -> None:
        """Append what was measured on later photos."""
        self.encoder += further.encoder
        self.cases += further.cases
        self.spreads += further.spreads
        self.skipped = list(dict.fromkeys([*self.skipped, *further.skipped]))
        if further.worst is not None and further._worst_key is not None:
            self.offer_worst(further._worst_key, further.worst)


def compare_runner(
    runner: BundleRunner,
    references: Sequence[PhotoReference],
    advance: Step = lambda _: None,
) -> Findings:
    """Ask an opened runner every case: the decoder alone, then end to end.

    Args:
        runner: opened, of the references' image size.
        references: what the PyTorch model answered.
        advance: called with each photo's name before it is asked about.
    """
    findings = Findings()
    for reference in references:
        advance(reference.photo.name)
        try:
            rgb, given = reference.photo.pixels(), reference.embedding()
        except UNREADABLE as error:
            findings.skipped.append(
                f"{reference.photo.name} could not be read any more ({error}): its "
                f"{len(reference.cases)} cases were not judged"
            )
            continue
        own = asking.encode(runner, rgb)
        _compare_embeddings(findings, reference.photo.name, given, own)
        for answer in reference.answers():
            case = answer.case
            if case.slots > runner.contract.slots:
                if case.everyday:  # others are made for the largest decoder of the run
                    findings.skipped.append(
                        f"'{case.name}' needs {case.slots} slots, this decoder has "
                        f"{runner.contract.slots}: not judged"
                    )
                continue
            if case.packing == "infinite" and not runner.bundle.manifest.follows(2):
                continue  # an older contract does not promise to bear it
            prompt = case.inputs(runner)
            alone = asking.decode(runner, given, prompt)
            _compare_masks(findings, "decoder", reference.photo, answer, alone)
            if case.everyday:
                together = asking.decode(runner, own, prompt)
                _compare_masks(findings, "end_to_end", reference.photo, answer, together)
    findings.skipped = list(dict.fromkeys(findings.skipped))
    return findings


def _compare_embeddings(
    findings: Findings, image: str, reference: np.ndarray, export: np.ndarray
) -> None:
    findings.encoder.append(
        EncoderMetrics(
            image=image,
            finite=metrics.is_finite(export),
            max_abs_error=metrics.max_abs_error(reference, export),
            relative_l2=metrics.relative_l2(reference, export),
            channel_relative_l2=metrics.channel_relative_l2(reference, export),
            cosine=metrics.cosine(reference, export),
            psnr_db=metrics.psnr_db(reference, export),
        )
    )
    findings.spreads.append(("encoder", image, metrics.spread_ratio(reference, export)))


def _compare_masks(
    findings: Findings, stage: Stage, photo: StoredPhoto, answer: Answer, export: Decoded
) -> None:
    case, shown = answer.case, answer.chosen
    where = f"{case.image}, {case.name}"
    upscaling = disagreement = None
    judged, drawn = answer, None
    norms = metrics.mask_norms(answer.low_res)
    if export.frame_mask is not None:
        judged = answer.in_frame()
        masks, place = _in_photo(export.frame_mask, case.frame), 0
        chosen = _nearest(answer.low_res, export.low_res[0])
        rows = [_compare_mask(judged, export, masks, norms, chosen, 0)]
        own_frame = judged.case.frame
        disagreement = _disagreement(export.frame_mask, export.low_res, own_frame, masks[0])
        drawn = _enlarged(masks[0], case.frame)
    elif export.masks is None:
        masks = masks_of(export.low_res, case.frame)
        rows = [_compare_mask(answer, export, masks, norms, each) for each in range(len(masks))]
        chosen = place = choose_mask(case.prompt, export.iou)
    else:
        # The file has chosen: which of the four it shows is told by the logits.
        masks, place = export.masks > MASK_THRESHOLD, 0
        chosen = _nearest(answer.low_res, export.low_res[0])
        rows = [_compare_mask(answer, export, masks, norms, chosen, 0)]
        upscaling = metrics.relative_l2(logits_of(export.low_res, case.frame), export.masks)
    drawn = masks[place] if drawn is None else drawn
    human = case.human_mask
    findings.cases.append(
        CaseMetrics(
            image=case.image,
            prompt=case.name,
            prompt_type=case.prompt_type,
            stage=stage,
            finite=metrics.is_finite(*(part for part in export if part is not None)),
            degenerate=answer.degenerate[shown],
            masks=rows,
            chosen_reference=shown,
            chosen_export=chosen,
            shown_iou=_shown_iou(judged, masks[place]),
            upscaling_relative_l2=upscaling,
            mask_disagreement=disagreement,
            human_iou_reference=None if human is None else metrics.iou(answer.masks[shown], human),
            human_iou_export=None if human is None else metrics.iou(drawn, human),
        )
    )
    own = answer.low_res if len(export.low_res) == len(answer.low_res) else answer.low_res[chosen]
    findings.spreads.append((stage, where, metrics.spread_ratio(own, export.low_res)))
    if stage == "end_to_end":
        error = max((row.logit_relative_l2 for row in rows), key=_nan_last)
        similarity = findings.cases[-1].shown_iou
        key = (2.0 if similarity is None else similarity, -_nan_last(error))
        findings.offer_worst(key, Drawn(photo, case, answer.masks[shown], drawn))


def _in_photo(frame_mask: np.ndarray, frame: Frame) -> Bools:
    """Of a mask [1, S, S] of 0 and 255 the part that is photo: [1, h, w]."""
    height, width = frame.valid_size
    part: Bools = frame_mask[:, :height, :width] == MASK_VALUE
    return part


def _enlarged(mask: Bools, frame: Frame) -> Bools:
    """A mask [h, w] of the frame's part that is photo, at the photo's size by nearest pixels."""
    (height, width), (new_height, new_width) = mask.shape, frame.original_size
    rows = (2 * np.arange(new_height) + 1) * height // (2 * new_height)
    columns = (2 * np.arange(new_width) + 1) * width // (2 * new_width)
    large: Bools = mask[rows[:, None], columns]
    return large


def _disagreement(frame_mask: np.ndarray, low_res: np.ndarray, frame: Frame, mask: Bools) -> float:
    """By how much a file's own logits say other than its mask, see ``schema.CaseMetrics``.

    Args:
        frame_mask, low_res: [1, S, S] and [1, S/4, S/4], the file's.
        frame: of the photo as it lies in the frame.
        mask: what of the file's is photo, [h, w].
    """
    if not np.isin(frame_mask, (0, MASK_VALUE)).all():
        return float("inf")
    logits = logits_of(low_res, frame)[0]
    otherwise = np.abs(logits[(logits > MASK_THRESHOLD) != mask])
    if not len(otherwise):
        return 0.0
    return float(otherwise.max() / np.sqrt(np.mean(np.square(logits, dtype=np.float64))))


def _nearest(four: np.ndarray, logits: np.ndarray) -> int:
    """Index of the reference's low-res logits [4, S/4, S/4] that others [S/4, S/4] are nearest to.

    The first where there is none, as where logits are not finite.
    """
    errors = [metrics.relative_l2(each, logits) for each in four]
    return int(np.argmin([_nan_last(error) for error in errors]))


def _compare_mask(
    answer: Answer,
    export: Decoded,
    masks: Bools,
    norms: np.ndarray,
    channel: int,
    place: int | None = None,
) -> MaskMetrics:
    """One of the reference's masks, and that of the export.

    Args:
        masks: of the export, at the photo's size.
        norms: of the reference's masks, see :func:`parity.metrics.mask_norms`.
        channel: of the reference.
        place: of the export; None: the same.
    """
    place = channel if place is None else place
    mask_iou = boundary_iou = None
    if not answer.degenerate[channel]:
        mask = masks[place]
        mask_iou = metrics.iou(answer.masks[channel], mask)
        # Erosion is the dearest step, and the outlines of equal masks are equal.
        boundary_iou = 1.0
        if mask_iou < 1:
            boundary_iou = metrics.iou(answer.boundaries[channel], metrics.boundary(mask))
    reference, own = answer.low_res[channel], export.low_res[place]
    return MaskMetrics(
        channel=channel,
        mask_iou=mask_iou,
        boundary_iou=boundary_iou,
        logit_max_abs_error=metrics.max_abs_error(reference, own),
        logit_relative_l2=metrics.mask_relative_l2(reference, own, norms[channel]),
        iou_prediction_error=metrics.max_abs_error(
            answer.iou[channel : channel + 1], export.iou[place : place + 1]
        ),
    )


def _shown_iou(answer: Answer, mask: Bools) -> float | None:
    """IoU of the mask [H, W] that the export shows with the one that the reference shows.

    None where the reference shows next to nothing, or all of the image, and so does the export.
    """
    reference = answer.masks[answer.chosen]
    differing = np.count_nonzero(reference != mask) / mask.size
    if answer.degenerate[answer.chosen] and differing < NEGLIGIBLE:
        return None
    return metrics.iou(reference, mask)


def _nan_last(value: float) -> float:
    """The value, or infinity in place of not-a-number, so that it compares as the worst."""
    return float("inf") if np.isnan(value) else value
