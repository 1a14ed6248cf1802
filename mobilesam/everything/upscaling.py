"""Low-res logits brought to the photo's size, only where they can matter.

The way from the decoder's logits to a photo (:func:`mobilesam.inference.transforms.upscale_logits`)
is two bilinear resizings, each of them rows and columns apart. So one row of the photo is a
weighted sum of at most three rows of logits that lie together, and so is one column. Where all
three are at or below a threshold, so is the result, and nothing has to be computed.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from mobilesam.inference.transforms import Frame

TAPS = 3
"""Rows of logits in a row of the photo."""


class Span(NamedTuple):
    """A range of the photo's rows or columns, ``stop`` not in it."""

    start: int
    stop: int


class Window(NamedTuple):
    """Logits that decide a part of the photo.

    Attributes:
        rows, columns: the part of the photo.
        logits: those that its pixels are sums of, [h, w].
    """

    rows: Span
    columns: Span
    logits: Tensor


class Upscaling:
    """Resizes low-res logits of one photo, or of one crop of it.

    Attributes:
        needed: how many rows and columns of logits the photo is made of, from the first on; those
            after them lie in the frame's padding.

    Args:
        frame: how the photo lies in the model's frame.
        low_res_size: L, side of the logits.
    """

    def __init__(self, frame: Frame, low_res_size: int) -> None:
        height, width = frame.original_size
        valid_height, valid_width = frame.valid_size
        self._rows = _Side(height, valid_height, low_res_size)
        self._columns = _Side(width, valid_width, low_res_size)
        self.needed = self._rows.needed, self._columns.needed

    def window(self, logits: Tensor, threshold: float) -> Window | None:
        """What of the logits can be above a threshold at the photo's size; None: nothing.

        Args:
            logits: [L, L], or as many of the first rows and columns as are :attr:`needed`.
            threshold: of logits.
        """
        above: npt.NDArray[np.bool_] = logits.numpy() > threshold
        rows = self._rows.reached(np.flatnonzero(above.any(axis=1)))
        columns = self._columns.reached(np.flatnonzero(above.any(axis=0)))
        if rows is None or columns is None:
            return None
        part = logits[self._rows.sources(rows), self._columns.sources(columns)]
        return Window(rows, columns, part)

    def columns_first(self, window: Window) -> npt.NDArray[np.float32]:
        """Logits of the window at the photo's size, transposed: [columns, rows]."""
        rows = self._rows.resized(window.logits, window.rows)
        columns = self._columns.resized(rows.t().contiguous(), window.columns)
        result: npt.NDArray[np.float32] = columns.numpy()
        return result


class _Side:
    """Rows, or columns, of a photo as weighted sums of those of the logits.

    Args:
        length: of the photo, in pixels.
        valid: of the photo in the model's frame, in pixels.
        low_res_size: L; the frame is four times as long.
    """

    def __init__(self, length: int, valid: int, low_res_size: int) -> None:
        # What both resizings make of each single row of logits says how rows are summed up.
        units = torch.eye(low_res_size).unsqueeze(1)
        frame = F.interpolate(units, 4 * low_res_size, mode="linear", align_corners=False)
        photo = F.interpolate(frame[..., :valid], length, mode="linear", align_corners=False)
        matrix = photo[:, 0].t()
        first = (matrix != 0).int().argmax(dim=1).clamp(max=low_res_size - TAPS)
        self._taps = first.unsqueeze(1) + torch.arange(TAPS)
        self._weights = matrix.gather(1, self._taps)
        self._first = first.numpy()
        self.needed = int(first.max()) + TAPS

    def reached(self, marked: npt.NDArray[np.intp]) -> Span | None:
        """The photo's rows whose sum has one of the marked rows of logits, ascending, or one
        between them."""
        if not len(marked):
            return None
        start = np.searchsorted(self._first, marked[0] - TAPS + 1, side="left")
        stop = np.searchsorted(self._first, marked[-1], side="right")
        return Span(int(start), int(stop)) if start < stop else None

    def sources(self, span: Span) -> slice:
        """The rows of logits that a range of the photo's rows is made of."""
        return slice(self._first[span.start], self._first[span.stop - 1] + TAPS)

    def resized(self, rows: Tensor, span: Span) -> Tensor:
        """The photo's rows of a range, of their :meth:`sources` [n, k]: [span, k]."""
        here = slice(*span)
        taps = self._taps[here] - self._first[span.start]
        # An embedding bag is what PyTorch calls weighted sums of some rows.
        return F.embedding_bag(taps, rows, per_sample_weights=self._weights[here], mode="sum")
