"""Pooling and upsampling."""

import torch
import torch.nn.functional as F

from tests.coreml_evaluator.mil_programs import mb
from tests.coreml_evaluator.op_cases.case import IMAGE, Case

CASES = [
    Case("avg_pool", lambda v: mb.avg_pool(
        x=v, kernel_sizes=[3, 2], strides=[2, 2], pad_type="custom", pad=[1, 1, 0, 0]), [IMAGE],
         lambda v: F.avg_pool2d(F.pad(v, (0, 0, 1, 1)), (3, 2), 2)),
    Case("max_pool", lambda v: mb.max_pool(
        x=v, kernel_sizes=[3, 3], strides=[2, 2], pad_type="custom", pad=[1, 1, 1, 1]),
         [IMAGE - 9], lambda v: F.max_pool2d(v, 3, 2, padding=1)),
    Case("max_pool", lambda v: mb.max_pool(x=v, kernel_sizes=[3, 2], strides=[2, 2],
                                           pad_type="same_lower"),
         [IMAGE], lambda v: F.max_pool2d(F.pad(v, (0, 0, 1, 1), value=-torch.inf), (3, 2), 2), 17),
    Case("avg_pool", lambda v: mb.avg_pool(x=v, kernel_sizes=[2, 2], pad_type="valid"), [IMAGE],
         lambda v: F.avg_pool2d(v, 2, 1)),
    Case("upsample_bilinear", lambda v: mb.upsample_bilinear(
        x=v, scale_factor_height=2, scale_factor_width=3, align_corners=False), [IMAGE],
         lambda v: F.interpolate(v, scale_factor=(2, 3), mode="bilinear")),
    Case("upsample_bilinear", lambda v: mb.upsample_bilinear(
        x=v, scale_factor_height=2, scale_factor_width=2), [IMAGE],
         lambda v: F.interpolate(v, scale_factor=2, mode="bilinear", align_corners=True)),
    Case("upsample_nearest_neighbor", lambda v: mb.upsample_nearest_neighbor(
        x=v, scale_factor_height=2, scale_factor_width=3), [IMAGE],
         lambda v: F.interpolate(v, scale_factor=(2, 3), mode="nearest")),
]  # fmt: skip
