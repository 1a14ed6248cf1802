"""torchvision's box area and per-class non-maximum suppression, for upstream's mask generator."""

import torch
from torch import Tensor


def box_area(boxes: Tensor) -> Tensor:
    """Areas [N] of boxes [N, 4] given as x1, y1, x2, y2."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """Indices [M] kept, by falling score; boxes suppress only others of the same class `idxs`."""
    areas = box_area(boxes)
    remaining = scores.argsort(descending=True, stable=True)
    kept: list[Tensor] = []
    while remaining.numel() > 0:
        best, others = remaining[0], remaining[1:]
        kept.append(best)
        corner_min = torch.maximum(boxes[best, :2], boxes[others, :2])
        corner_max = torch.minimum(boxes[best, 2:], boxes[others, 2:])
        overlap = (corner_max - corner_min).clamp(min=0).prod(dim=1)
        iou = overlap / (areas[best] + areas[others] - overlap)
        remaining = others[(iou <= iou_threshold) | (idxs[others] != idxs[best])]
    return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)
