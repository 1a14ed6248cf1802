"""Every fault of a graph in one file of each format, all shut; a fault is planted by opening it.

To convert a file for each fault would take minutes a format. In place of that a component is
converted once with all wrong ways of reading its inputs beside the right one. What is read is

    right + gate * (wrong - right)

with a gate for each fault, a constant of 1e-36, which adds nothing in float32. To plant a fault is
to write 1 over its gate's bytes: the file then computes what a file with that fault alone would.
"""

import atexit
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from converters.base import converter_of
from converters.modules import DecoderModule, EncoderModule
from mobile_runtime_tests.answer_faults import ANSWER_FAULTS
from mobile_runtime_tests.faults import rewrite_contents
from mobile_runtime_tests.image_faults import IMAGE_FAULTS
from mobile_runtime_tests.prompt_faults import PROMPT_FAULTS
from mobilesam.bundle.contract import COMPONENTS, Component, Contract
from mobilesam.model.sam import MobileSAM
from tests.specs import make_job
from tests.tiny_bundles import tiny_model

GATED: Mapping[str, Component] = {
    **dict.fromkeys([*PROMPT_FAULTS, *ANSWER_FAULTS], "decoder"),
    **dict.fromkeys(IMAGE_FAULTS, "encoder"),
}
"""By the name of a fault: the component that has it."""

_OPEN = np.float32(1).tobytes()


def _gate(name: str) -> np.ndarray:
    """[1] float32: a number near 1e-36 whose bytes no other constant has."""
    return np.array([0x03A5_0000 + 0x2F1 * (1 + [*GATED].index(name))], np.uint32).view(np.float32)


class _Gates(nn.Module):
    def __init__(self, faults: Mapping[str, Callable[..., Sequence[Tensor]]]) -> None:
        super().__init__()
        self.faults = faults
        for number, name in enumerate(faults):
            self.register_buffer(f"gate_{number}", torch.from_numpy(_gate(name)))

    def forward(self, *right: Tensor) -> list[Tensor]:
        read = list(right)
        for number, change in enumerate(self.faults.values()):
            gate = getattr(self, f"gate_{number}")
            for place, wrong in enumerate(change(*right)):
                if wrong is not right[place]:
                    read[place] = read[place] + gate * (wrong - right[place])
        return read


class _Decoder(DecoderModule):
    def __init__(self, model: MobileSAM, contract: Contract) -> None:
        super().__init__(model, contract)
        self.prompt, self.answer = _Gates(PROMPT_FAULTS), _Gates(ANSWER_FAULTS)

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """As the right decoder."""
        # As in the right decoder: infinity that is not read must stay out of the wrong ways too.
        placed = torch.relu(point_labels + 1) - torch.relu(point_labels)
        coords = self.keep(point_coords, placed)
        mask = self.keep(mask_input.reshape(1, 1, -1), has_mask_input.reshape(1, 1))
        mask = mask.reshape(mask_input.shape)
        read = self.prompt(coords, point_labels, mask, has_mask_input)
        masks, iou = self.answer(*super().forward(image_embeddings, *read))
        return masks, iou


class _Encoder(EncoderModule):
    def __init__(self, model: MobileSAM, contract: Contract) -> None:
        super().__init__(model, contract)
        self.picture = _Gates(IMAGE_FAULTS)

    def forward(self, image: Tensor, valid_size: Tensor | None = None) -> Tensor:
        """As the right encoder of variant ``pixels``."""
        return super().forward(*self.picture(image, valid_size))


_MODULES: Mapping[Component, Any] = dict(zip(COMPONENTS, (_Encoder, _Decoder), strict=True))


@cache
def _folder() -> Path:
    """For the files of this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fault-gates-")))


@cache
def gated_file(target: str, component: Component) -> Path:
    """A component in float32 with every gate shut; the path lacks its suffix."""
    folder = _folder() / target / component
    folder.mkdir(parents=True)
    model = tiny_model()
    job = make_job(model, component, folder, target)
    module = _MODULES[component](model, job.spec.contract).eval().requires_grad_(False)
    converter_of(target).convert(replace(job, module=module))
    return job.path("")


def open_gate(path: Path, name: str) -> None:
    """Plant a fault in a file or package that :func:`gated_file` made.

    Raises:
        LookupError: the file does not hold the fault's gate.
    """
    shut, opened = _gate(name).tobytes(), 0

    def change(content: bytes) -> bytes:
        nonlocal opened
        opened += content.count(shut)
        return content.replace(shut, _OPEN)

    rewrite_contents(path, change)
    if not opened:
        raise LookupError(f"{path.name} has no gate for '{name}'")
