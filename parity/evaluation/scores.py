"""The result of `mobilesam evaluate` as data: mean IoU by prompt type, with intervals.

The JSON that the command writes is :class:`EvaluationReport`, versioned.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from mobilesam.errors import InputError
from mobilesam.files import write_whole
from parity.schema import ReportRecord, UnusableImage

SCHEMA_VERSION = "1.1"

PromptName = Literal[
    "point", "point, best of three", "box", "box and point", "point, refined", "filled box"
]
PROMPT_NAMES: tuple[PromptName, ...] = get_args(PromptName)

MEANINGS: dict[PromptName, str] = {
    "point": "one click deep inside; of masks 1 to 3 the one with the best predicted IoU",
    "point, best of three": "the same click; of masks 1 to 3 the one that is truly best",
    "box": "the tight box; mask 0",
    "box and point": "the tight box and the click; mask 0",
    "point, refined": "the click, one more where the mask shown is most wrong, and its logits fed "
    "back; mask 0",
    "filled box": "no model: every pixel of the tight box",
}

RESAMPLES = 2000
CONFIDENCE = 0.95
SEED = 0


class PromptResult(ReportRecord):
    """What was answered to one prompt: true IoU, and the IoU the model predicted (null: none)."""

    iou: float
    predicted: float | None = None


class SegmentResult(ReportRecord):
    """One mask with the answer to each prompt.

    Attributes:
        image: file name.
        group: images of one group are alike, such as frames of one film.
        category: what the mask shows.
        area: of the true mask, in pixels.
    """

    image: str
    group: str
    category: str
    area: int
    prompts: dict[PromptName, PromptResult]


class Score(ReportRecord):
    """One prompt type over all segments.

    Attributes:
        mean_iou: over segments.
        low, high: 95 % interval of the mean; null where there are fewer than two groups.
        prediction_error: mean absolute difference of predicted and true IoU of the masks scored;
            null where the choice was not the model's.
    """

    prompt: PromptName
    meaning: str
    segments: int
    images: int
    mean_iou: float
    low: float | None
    high: float | None
    prediction_error: float | None


class EvaluationReport(ReportRecord):
    """One model against the masks of one set of images.

    Attributes:
        model: what was named: demo, official, a checkpoint's path or a bundle's.
        engine: what computed.
        weights: name, source, SHA-256 of the tensors and so on.
        images: folder. annotations: COCO file, or null where the folder has a manifest.
        rule: which segments were scored.
        unusable_images: photos that could not be used, so that nothing was scored on them.
        interval: how low and high were found.
    """

    schema_version: str = SCHEMA_VERSION
    created: str
    tool_version: str
    command: str
    model: str
    engine: str
    weights: dict[str, str]
    image_size: int
    images: str
    annotations: str | None
    names: str | None
    rule: str
    unusable_images: list[UnusableImage] = []
    interval: str = (
        f"{CONFIDENCE:.0%} percentile bootstrap of the mean over segments, {RESAMPLES} resamples "
        f"of images (frames of one film together), seed {SEED}"
    )
    scores: list[Score]
    segments: list[SegmentResult]

    def save(self, path: str | Path) -> Path:
        """Write the result as JSON, whole or not at all.

        Raises:
            InputError: the file cannot be written.
        """
        path = Path(path)
        try:
            write_whole(path, self.model_dump_json(indent=2) + "\n")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InputError(f"'{path}' cannot be written ({reason}): write elsewhere") from None
        return path


def interval_of_mean(values: Sequence[float], groups: Sequence[str]) -> tuple[float, float] | None:
    """Percentile interval of a mean whose values come in groups (a cluster bootstrap).

    Segments of one image succeed and fail together, so whole groups are drawn with replacement,
    as many as there are; drawing segments would give an interval that is too narrow (Field and
    Welsh, "Bootstrapping clustered data", JRSS B 69, 2007).

    Args:
        values: one a segment.
        groups: the group of each.

    Returns:
        Lower and upper end, or None where there are fewer than two groups.
    """
    names, of = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < 2:
        return None
    sums, sizes = np.bincount(of, weights=values), np.bincount(of)
    share = np.full(len(names), 1 / len(names))
    draws = np.random.default_rng(SEED).multinomial(len(names), share, size=RESAMPLES)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile((draws @ sums) / (draws @ sizes), [tail, 1 - tail])
    return float(low), float(high)


def score(results: Sequence[SegmentResult]) -> list[Score]:
    """The score of each prompt type over all segments, of which there must be at least one."""
    return [_score(prompt, results) for prompt in PROMPT_NAMES]


def _score(prompt: PromptName, results: Sequence[SegmentResult]) -> Score:
    found = [result.prompts[prompt] for result in results]
    values = [one.iou for one in found]
    interval = interval_of_mean(values, [result.group for result in results])
    errors = [abs(one.predicted - one.iou) for one in found if one.predicted is not None]
    return Score(
        prompt=prompt,
        meaning=MEANINGS[prompt],
        segments=len(results),
        images=len({result.image for result in results}),
        mean_iou=float(np.mean(values)),
        low=interval[0] if interval else None,
        high=interval[1] if interval else None,
        prediction_error=float(np.mean(errors)) if errors else None,
    )
