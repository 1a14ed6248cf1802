"""Ops that pick values out of a tensor by position."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.coreml_evaluator.mil_programs import mb
from tests.coreml_evaluator.op_cases.case import Case, X, ints


def int32(values: list[Any]) -> np.ndarray:
    return np.array(values, np.int32)


def uint16(values: list[Any]) -> np.ndarray:
    return np.array(values, np.uint16)


CASES = [
    Case("gather", lambda v, i: mb.gather(x=v, indices=i, axis=1), [X, ints(2, 0, 0)],
         lambda v, i: v[:, [2, 0, 0]]),
    Case("gather", lambda v: mb.gather(x=v, indices=int32([[0, -1], [1, 2]]), axis=-1), [X],
         lambda v: v[..., [[0, 3], [1, 2]]]),
    Case("gather", lambda v: mb.gather(x=v, indices=uint16([[0, 3], [1, 2]]), axis=-1), [X],
         lambda v: v[..., [[0, 3], [1, 2]]], 17),
    Case("gather", lambda v: mb.gather(x=v, indices=1, axis=-2, validate_indices=True), [X],
         lambda v: v[:, 1], 18),
    Case("gather_along_axis", lambda v: mb.gather_along_axis(
        x=v, indices=int32([[[-1, 1, 0, -3]], [[2, 2, -2, 0]]]), axis=-2), [X],
         lambda v: v.gather(1, torch.tensor([[[2, 1, 0, 0]], [[2, 2, 1, 0]]]))),
    Case("gather_along_axis", lambda v: mb.gather_along_axis(
        x=v, indices=np.int32(np.arange(24).reshape(2, 3, 4) % 3), axis=1), [X],
         lambda v: v.gather(1, torch.arange(24).reshape(2, 3, 4) % 3)),
    Case("gather_nd", lambda v: mb.gather_nd(x=v, indices=int32([[0, 2], [1, 1]])), [X],
         lambda v: torch.stack([v[0, 2], v[1, 1]])),
    Case("gather_nd", lambda v: mb.gather_nd(x=v, indices=int32([[[1, 2, 3]], [[0, 0, -1]]])),
         [X], lambda v: v[[[1], [0]], [[2], [0]], [[3], [-1]]]),
    Case("gather_nd", lambda v: mb.gather_nd(x=v, indices=int32([[1]])), [X],
         lambda v: v[[1]], 17),
    Case("one_hot", lambda i: mb.one_hot(indices=i, one_hot_vector_size=4, axis=0,
                                         on_value=2.0, off_value=-1.0), [ints(1, 3, 0)],
         lambda i: F.one_hot(i.long(), 4).T * 3.0 - 1),
    Case("one_hot", lambda i: mb.one_hot(indices=i, one_hot_vector_size=3), [ints(1, 2, 0)],
         lambda i: F.one_hot(i.long(), 3)),
    Case("reduce_argmax", lambda v: mb.reduce_argmax(x=v, axis=1), [X], lambda v: v.argmax(1)),
    Case("reduce_argmax", lambda v: mb.cast(
        x=mb.reduce_argmax(x=v, axis=-3, keep_dims=True, output_dtype="uint16"), dtype="int32"),
         [X], lambda v: v.argmax(0, keepdim=True), 17),
    Case("reduce_argmin", lambda v: mb.reduce_argmin(x=v, axis=-1, keep_dims=True), [X],
         lambda v: v.argmin(-1, keepdim=True)),
    Case("slice_by_index",
         lambda v: mb.slice_by_index(x=v, begin=[0, 1, -3], end=[1, 3, -1]), [X],
         lambda v: v[0:1, 1:3, -3:-1]),
    Case("slice_by_index",
         lambda v: mb.slice_by_index(x=v, begin=[1, 9, 3], end=[9, 2, 0], stride=[1, 2, -2],
                                     begin_mask=[False, True, False]), [X],
         lambda v: v[1:9, 0:2:2].flip(2)[..., [0, 2]]),
    Case("slice_by_index",
         lambda v: mb.slice_by_index(x=v, begin=[-1, 0, 2], end=[0, 0, 0],
                                     end_mask=[False, True, False],
                                     squeeze_mask=[True, False, True]), [X],
         lambda v: v[-1, :, 2]),
    Case("slice_by_index",
         lambda v: mb.slice_by_index(x=v, begin=[0, 0, 0], end=[0, 0, 0], stride=[-1, 1, -3],
                                     begin_mask=[True] * 3, end_mask=[True] * 3), [X],
         lambda v: v.flip(0, 2)[..., ::3], 17),
    Case("slice_by_size", lambda v: mb.slice_by_size(x=v, begin=[1, 0, 2], size=[1, 2, -1]), [X],
         lambda v: v[1:2, 0:2, 2:]),
]  # fmt: skip
