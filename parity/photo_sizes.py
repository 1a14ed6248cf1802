"""Files that bring their masks to the photo's size, asked for photos of other sizes than a run's.

The decoder knows a photo by its embedding and two numbers: no photo of that size is needed.
"""

from collections.abc import Sequence

import numpy as np

from mobilesam.inference.transforms import Frame
from mobilesam.runtimes.base import BundleRunner
from parity import asking, metrics
from parity.checks import UPSCALING, MeasuredValue, at_most, reasons
from parity.references import PhotoReference, logits_of
from parity.schema import BundleReport

SIZES = ((3024, 4032), (4623, 3467), (61, 97))
"""Height and width: a phone's photo, one whose sides float16 does not hold, and a small one."""


def judge_photo_sizes(
    report: BundleReport, runner: BundleRunner, answers: Sequence[PhotoReference]
) -> None:
    """Add the check of a file's own masks at other sizes to its report, where it makes them.

    Args:
        report: of the bundle; becomes a FAIL where its masks are not what its logits give.
        runner: of the bundle, opened.
        answers: that the runner was asked for; the first photo's embedding and prompt are used.

    Raises:
        BundleError: masks are not of the size that was asked for.
    """
    if runner.contract.interface != "sam":
        return
    embedding, (prompt, *_) = answers[0].embedding(), answers[0].cases
    samples = []
    for size in SIZES:
        asked = prompt.inputs(runner) | {"orig_im_size": np.array(size, np.float32)}
        found = asking.decode(runner, embedding, asked)
        assert found.masks is not None
        wanted = logits_of(found.low_res, Frame(size, runner.image_size))
        where = f"a photo of {size[1]} x {size[0]}"
        samples.append(MeasuredValue(metrics.relative_l2(wanted, found.masks), where, where))
    check = at_most("upscaling_of_other_sizes", "decoder", samples, UPSCALING)
    report.checks = [*report.checks, check]
    failed = reasons([check])
    if failed:
        report.reasons = [*report.reasons, *failed]
        report.verdict = "FAIL"
