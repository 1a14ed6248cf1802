"""One prompt answered: the four masks' logits, and the one mask that is shown."""

from dataclasses import dataclass

import numpy as np

from mobilesam.inference.image_predictor import ImagePredictor
from mobilesam.inference.predictor import choose_mask
from mobilesam.inference.prompts import Prompt
from mobilesam.inference.transforms import MASK_THRESHOLD, upscale_logits


@dataclass(frozen=True)
class Answer:
    """What a predictor says to one prompt about its current image.

    Attributes:
        prompt: what was asked.
        low_res: logits of all four masks, [4, S/4, S/4] float32.
        iou: their predicted IoU, [4] float32.
        chosen: which of the four ``mask`` is.
        mask: [H, W] bool, at the photo's size.
    """

    prompt: Prompt
    low_res: np.ndarray
    iou: np.ndarray
    chosen: int
    mask: np.ndarray


def answer(predictor: ImagePredictor, prompt: Prompt, *, multimask: bool | None = None) -> Answer:
    """Ask a predictor, and choose a mask.

    Args:
        predictor: with an image set.
        prompt: about that image.
        multimask: True takes the best of the three alternatives, False the single-mask output;
            None leaves it to the prompt (:func:`~mobilesam.inference.predictor.choose_mask`).

    Raises:
        ImageNotSetError: no image is set.
        PromptError: more points than an exported decoder has slots for.
    """
    low_res, iou = predictor.decode(prompt)
    predicted = iou[0].cpu().numpy()
    chosen = choose_mask(prompt, predicted)
    if multimask is not None:
        chosen = 1 + int(predicted[1:].argmax()) if multimask else 0
    # Only the mask that is shown is enlarged.
    logits = upscale_logits(low_res[:, chosen : chosen + 1], predictor.frame)
    mask = (logits[0, 0] > MASK_THRESHOLD).cpu().numpy()
    return Answer(prompt, low_res[0].cpu().numpy(), predicted, chosen, mask)
