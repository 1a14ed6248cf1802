"""The ways in which an app may lay the same prompt into the decoder's inputs."""

import numpy as np

from mobilesam.bundle.contract import Contract
from mobilesam.bundle.prompt_types import Packing
from mobilesam.model.point_labels import UNUSED_SLOT

Inputs = dict[str, np.ndarray]

STALE_LOGIT = 16.0
"""Size of the logits in a mask input that is not to be read."""


def packed(inputs: Inputs, packing: Packing, contract: Contract) -> Inputs:
    """Lay a prompt out in another way that must get the same answer.

    Args:
        inputs: as :func:`mobilesam.bundle.contract.pack_prompt` returns them.
        packing: ``plain`` leaves them; ``stale`` leaves coordinates in the unused slots, inside and
            outside the frame, and logits in a mask input that is not to be read, as an app does
            that uses its arrays again; ``infinite`` leaves infinities there, which a product with
            zero does not take away; ``gaps`` puts the unused slots first and reverses the rest.
        contract: of the decoder.
    """
    if packing == "plain":
        return inputs
    if packing == "gaps":
        return inputs | {name: inputs[name][:, ::-1].copy() for name in _SLOTTED}
    filled = _with_an_unused_slot(inputs, contract)
    unused = filled["point_labels"] == UNUSED_SLOT
    coords = filled["point_coords"].copy()
    # Spread over three frames' width around the real one; the same on every machine.
    spread = (np.arange(2 * int(unused.sum()), dtype=np.float32) * 0.618034) % 1
    coords[unused] = ((3 * spread - 1) * contract.image_size).reshape(-1, 2)
    waves = np.sin(0.11 * np.arange(contract.low_res_size, dtype=np.float32))
    mask = STALE_LOGIT * np.outer(waves, waves[::-1])[None, None]
    if packing == "infinite":
        coords[unused] = np.copysign(np.float32(np.inf), coords[unused])
        mask = np.copysign(np.float32(np.inf), mask)
    filled = filled | {"point_coords": coords}
    if not inputs["has_mask_input"].any():
        filled["mask_input"] = mask
    return filled


_SLOTTED = ("point_coords", "point_labels")


def _with_an_unused_slot(inputs: Inputs, contract: Contract) -> Inputs:
    """The inputs with the next larger number of slots where every slot is taken and one exists."""
    coords, labels = (inputs[name] for name in _SLOTTED)
    count = labels.shape[1]
    more = contract.slots_for(count + 1)
    if more <= count or (labels == UNUSED_SLOT).any():
        return inputs
    extra = more - count
    return inputs | {
        "point_coords": np.pad(coords, ((0, 0), (0, extra), (0, 0))),
        "point_labels": np.pad(labels, ((0, 0), (0, extra)), constant_values=UNUSED_SLOT),
    }
