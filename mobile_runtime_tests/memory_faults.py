"""TorchScript files that remember: what they answer depends on what they were asked before."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from mobilesam.bundle.contract import Component


class _Remembering(nn.Module):
    """A right module, the number of calls, and a tensor of an earlier one."""

    fault: Final[str]

    def __init__(self, inner: nn.Module, fault: str) -> None:
        super().__init__()
        self.inner = inner
        self.fault = fault
        self.calls = 0
        self.kept = torch.zeros(1)


class _Encoder(_Remembering):
    def forward(self, image: Tensor, valid_size: Tensor) -> Tensor:
        """Encode the first image, whatever is given."""
        self.calls += 1
        if self.calls == 1:
            self.kept = image
        found: Tensor = self.inner(self.kept, valid_size)
        return found


class _Decoder(_Remembering):
    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode, and do what the fault's name says."""
        self.calls += 1
        if self.fault == "first embedding":
            if self.calls == 1:
                self.kept = image_embeddings
            image_embeddings = self.kept
        masks, iou = self.inner(
            image_embeddings, point_coords, point_labels, mask_input, has_mask_input
        )
        if self.fault == "seventh":
            masks = masks * float(self.calls % 7 != 0)
        if self.fault == "earlier" or self.fault == "mixed":
            earlier = self.kept if self.calls > 1 else masks
            self.kept = masks
            masks = earlier if self.fault == "earlier" else 0.9 * masks + 0.1 * earlier
        return masks, iou


MEMORY_FAULTS: Mapping[str, tuple[Component, str]] = {
    "the first image's embedding used for every image": ("decoder", "first embedding"),
    "the masks of the earlier prompt": ("decoder", "earlier"),
    "a tenth of the earlier masks in the next ones": ("decoder", "mixed"),
    "every seventh answer without masks": ("decoder", "seventh"),
    "the first image encoded for every image": ("encoder", ""),
}
"""By name: the component, and what its module is told to do."""


def memory_fault(name: str) -> Callable[[Path], None]:
    """An edit of an archive of either interpreter that plants a fault of :data:`MEMORY_FAULTS`."""
    component, fault = MEMORY_FAULTS[name]
    kind = _Encoder if component == "encoder" else _Decoder

    def edit(path: Path) -> None:
        inner = torch.jit.load(str(path))
        module = torch.jit.script(kind(inner, fault).eval())
        if path.suffix == ".ptl":
            module._save_for_lite_interpreter(str(path))
        else:
            torch.jit.save(module, str(path))

    return edit
