"""Masks that a file makes at the photo's size are judged at other sizes than the photos' too."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
import onnx  # noqa: E402
from onnx import helper, numpy_helper  # noqa: E402

from converters.onnx.options import ONNXOptions  # noqa: E402
from mobilesam.runtimes.reference import ReferenceRunner  # noqa: E402
from parity.image_folder import folder_photos  # noqa: E402
from parity.judging import BundleRun, empty_bundle_report, judge_graph  # noqa: E402
from parity.photos import stored_photos  # noqa: E402
from parity.references import PhotoReference, reference_answers  # noqa: E402
from parity.thresholds import Thresholds  # noqa: E402
from tests.parity.description_edits import edited  # noqa: E402
from tests.parity.description_edits import onnx as onnx_edit  # noqa: E402
from tests.parity.fakes import write_photos  # noqa: E402
from tests.shared_bundles import exported  # noqa: E402
from tests.tiny_bundles import SIZE, tiny_model  # noqa: E402

Edit = Callable[[Any], None]


def _cast_to_float16(model: Any) -> None:
    """``orig_im_size`` in float16 wherever it is read: whole numbers up to 2048, then even ones."""
    for node in model.graph.node:
        node.input[:] = ["whole" if name == "orig_im_size" else name for name in node.input]
    casts = (("orig_im_size", "half", onnx.TensorProto.FLOAT16), ("half", "whole", 1))
    for place, (given, made, kind) in enumerate(casts):
        model.graph.node.insert(place, helper.make_node("Cast", [given], [made], to=kind))


def _no_side_beyond_4096(model: Any) -> None:
    """The photo's longest side, by which it is scaled, counts as 4096 where it is longer."""
    most = numpy_helper.from_array(np.array([4096], np.float64), "most")
    model.graph.initializer.append(most)
    place, node = next(
        (i, n) for i, n in enumerate(model.graph.node) if n.output[0] == "sam_longest"
    )
    node.output[0] = "longest_of_photo"
    least = helper.make_node("Min", ["longest_of_photo", "most"], ["sam_longest"])
    model.graph.node.insert(place + 1, least)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[PhotoReference]]:
    """What PyTorch answers to every case of two small photos."""
    folder = write_photos(tmp_path_factory.mktemp("sizes") / "photos")
    with (
        stored_photos(folder_photos(folder), [SIZE]) as photos,
        ReferenceRunner(tiny_model()) as reference,
        reference_answers(reference, photos) as made,
    ):
        yield made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (None, ""),
        (_cast_to_float16, "gives masks of 4624 x 3468 pixels"),
        (_no_side_beyond_4096, "decoder upscaling_of_other_sizes"),
    ],
)
def test_sizes_that_no_photo_has_are_asked(
    tmp_path: Path, answers: list[PhotoReference], edit: Edit | None, wanted: str
) -> None:
    options = ONNXOptions(interface="sam")
    bundle = exported(tiny_model(), "tiny-sam", "onnx", ["fp32"], options)["fp32"]
    if edit is not None:
        bundle = edited(bundle, tmp_path, "decoder", onnx_edit(edit))
    limits = Thresholds()
    run = BundleRun(bundle, "onnxruntime", limits.row("onnx", "fp32"))
    report = empty_bundle_report(run)
    report.verdict = "PASS"
    judge_graph(report, run, limits, {}, tiny_model(), answers, 1, None)
    assert report.verdict == ("FAIL" if wanted else "PASS"), report.reasons
    assert len(report.reasons) == bool(wanted) and wanted in " ".join(report.reasons)
