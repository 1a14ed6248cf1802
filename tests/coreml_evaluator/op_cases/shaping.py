"""Ops that move values, and those that make tensors of given shapes."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.coreml_evaluator.mil_programs import mb
from tests.coreml_evaluator.op_cases.case import Case, X, floats, halves, ints, unary

GRID = floats(1, 4, 6, 6)

CASES = [
    Case("concat", lambda a, b: mb.concat(values=[a, b], axis=-2), [X, X + 1],
         lambda a, b: torch.cat([a, b], 1)),
    Case("concat", lambda a, b: mb.concat(values=[a, b, a], axis=2), [ints(1, 2).reshape(1, 1, 2),
                                                                      ints(3).reshape(1, 1, 1)],
         lambda a, b: torch.cat([a, b, a], -1), 17),
    Case("depth_to_space", lambda v: mb.depth_to_space(x=v, block_size=2), [floats(1, 8, 2, 3)],
         lambda v: F.pixel_shuffle(
             v.reshape(1, 4, 2, 2, 3).transpose(1, 2).reshape(1, 8, 2, 3), 2), ours=True),
    Case("expand_dims", lambda v: mb.expand_dims(x=v, axes=[0, -1]), [X],
         lambda v: v[None, ..., None]),
    Case("expand_dims", lambda v: mb.expand_dims(x=v, axes=[-2, 1]), [X],
         lambda v: v[:, None, :, None, :]),
    Case("fill", lambda v: mb.add(x=v, y=mb.fill(shape=[3, 4], value=2.5)), [X],
         lambda v: v + 2.5),
    Case("fill", lambda v: mb.add(x=v, y=mb.fill(shape=[4], value=3)), [ints(1, 2, 3, 4)],
         lambda v: v + torch.full((4,), 3)),
    Case("fill_like", lambda v: mb.fill_like(ref_tensor=v, value=2.5), [X],
         lambda v: torch.full_like(v, 2.5)),
    Case("flatten2d", lambda v: mb.flatten2d(x=v, axis=-1), [X], lambda v: v.reshape(6, 4)),
    Case("flatten2d", lambda v: mb.flatten2d(x=v, axis=2), [X], lambda v: v.reshape(6, 4)),
    unary("identity", X, lambda v: v),
    Case("pad", lambda v: mb.pad(x=v, pad=[1, 0, 2, 3], constant_val=0.5), [X],
         lambda v: F.pad(v, (2, 3, 1, 0), value=0.5)),
    Case("pad", lambda v: mb.pad(x=v, pad=[0, 0, 1, 2, 0, 1], mode="reflect"), [X],
         lambda v: F.pad(v[None], (0, 1, 1, 2), "reflect")[0]),
    Case("pad", lambda v: mb.pad(x=v, pad=[2, 1, 1, 0], mode="replicate"), [X],
         lambda v: F.pad(v[None], (1, 0, 2, 1), "replicate")[0]),
    Case("pad", lambda v: mb.pad(x=v, pad=[1, 1], mode="reflect"), [floats(4)],
         lambda v: F.pad(v[None], (1, 1), "reflect")[0]),
    Case("pad", lambda v: mb.pad(x=v, pad=[0, 2, 0, 0, 1, 0], constant_val=np.float16(-3)),
         [halves(2, 3, 4)], lambda v: F.pad(v, (1, 0, 0, 0, 0, 2), value=-3.0)),
    Case("pixel_shuffle", lambda v: mb.pixel_shuffle(x=v, upscale_factor=2), [GRID],
         lambda v: F.pixel_shuffle(v, 2)),
    Case("pixel_unshuffle", lambda v: mb.pixel_unshuffle(x=v, downscale_factor=np.uint32(2)),
         [GRID], lambda v: F.pixel_unshuffle(v, 2)),
    Case("range_1d", lambda v: mb.add(x=v, y=mb.range_1d(start=1.0, end=3.0, step=0.5)), [X],
         lambda v: v + torch.arange(1, 3, 0.5)),
    Case("range_1d", lambda v: mb.add(x=v, y=mb.range_1d(start=5, end=-2, step=-2)),
         [ints(1, 2, 3, 4)], lambda v: v + torch.arange(5, -2, -2)),
    Case("reshape", lambda v: mb.reshape(x=v, shape=[3, -1]), [X], lambda v: v.reshape(3, 8)),
    Case("reshape", lambda v: mb.reshape(x=v, shape=[0, 2, -1]), [X], lambda v: v.reshape(2, 2, 6)),
    Case("reshape", lambda v: mb.reshape(x=v, shape=[1, 0, -1, 0]), [floats(2, 50)],
         lambda v: v.reshape(1, 1, 2, 50), 17),  # the reference's own example
    Case("reshape", lambda v: mb.reshape(x=v, shape=[-1, 0]), [X], lambda v: v.reshape(6, 4), 18),
    unary("reverse", X, lambda v: v.flip(0, 1, 2)),
    Case("reverse", lambda v: mb.reverse(x=v, axes=[0, -1]), [X], lambda v: v.flip(0, 2)),
    unary("shape", X, lambda v: torch.tensor([2, 3, 4])),
    Case("split", lambda v: mb.split(x=v, split_sizes=[1, 3], axis=-1), [X],
         lambda v: v.split([1, 3], -1)),
    Case("split", lambda v: mb.split(x=v, num_splits=3, axis=1), [X], lambda v: v.split(1, 1)),
    Case("split", lambda v: mb.split(x=v, num_splits=2, axis=-3), [X], lambda v: v.split(1, 0), 17),
    Case("squeeze", lambda v: mb.squeeze(x=v, axes=[-1, 0]), [floats(1, 3, 1, 2, 1)],
         lambda v: v[0, ..., 0]),
    unary("squeeze", floats(1, 3, 1, 2), torch.squeeze),
    Case("stack", lambda a, b: mb.stack(values=[a, b], axis=1), [X, X + 1],
         lambda a, b: torch.stack([a, b], 1)),
    Case("stack", lambda a, b: mb.stack(values=[a, b], axis=-1), [X, X + 1],
         lambda a, b: torch.stack([a, b], -1)),
    Case("tile", lambda v: mb.tile(x=v, reps=[2, 1, 3]), [X], lambda v: v.repeat(2, 1, 3)),
    Case("transpose", lambda v: mb.transpose(x=v, perm=[-1, 0, 1]), [X],
         lambda v: v.permute(2, 0, 1)),
]  # fmt: skip
