"""Options of ``SAM.predict`` that go to the mask generator, or that there are none of."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

from mobilesam.errors import InputError
from mobilesam.everything.settings import Settings

_ULTRALYTICS = {
    "points_stride": "points_per_side",
    "points_batch_size": "points_per_batch",
    "conf_thres": "pred_iou_thresh",
    "crop_downscale_factor": "crop_n_points_downscale_factor",
}
"""Parameters of the mask generator by Ultralytics' names, and by segment-anything's."""

_ELSEWHERE = {
    "save": "call save() of each result",
    "save_txt": "call save_txt() of each result",
    "save_conf": "call save_txt(file, save_conf=True) of each result",
    "show": "call show() of each result",
    "half": "export a bundle of the scheme fp16 and open it",
    "imgsz": "open the model as SAM(..., imgsz=...), a bundle has a size of its own",
    "multimask_output": "use multimask, which chooses one mask an object",
    "output_mode": "results hold masks as arrays",
}
"""What is something else here, and what."""


def generator_parameters(
    options: Mapping[str, Any], known: Sequence[str], *, prompted: bool
) -> dict[str, Any]:
    """Options that are left over, by the names of the mask generator's parameters.

    Args:
        options: by segment-anything's or Ultralytics' names.
        known: names of the other options that there are, for errors.
        prompted: whether there is a prompt; then the mask generator is not used.

    Raises:
        InputError: there is no such option, or none with a prompt.
    """
    ours = [field.name for field in fields(Settings) if field.name not in _ELSEWHERE]
    parameters: dict[str, Any] = {}
    for typed, value in options.items():
        name = _ULTRALYTICS.get(typed, typed)
        if name not in ours:
            raise InputError(f"predict has no option '{typed}': {_instead(typed, known, ours)}")
        if prompted:
            raise InputError(
                f"'{typed}' is for segmenting everything, where no prompt is given: leave it out"
            )
        if name in parameters:
            raise InputError(f"'{typed}' was given by another name, too: leave one out")
        parameters[name] = value
    return parameters


def _instead(typed: str, known: Sequence[str], ours: Sequence[str]) -> str:
    if typed in _ELSEWHERE:
        return _ELSEWHERE[typed]
    near = get_close_matches(typed, [*known, *ours, *_ULTRALYTICS], n=1)
    return f"did you mean '{near[0]}'?" if near else f"it has {', '.join(known)}"
