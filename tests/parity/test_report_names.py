"""Bundles of one target and scheme are told apart by their folders, in every form of the report."""

import io
from xml.etree import ElementTree

import pytest
from rich.console import Console

from parity.naming import Named, distinct_names
from parity.report import Report, print_report
from parity.report.html import html
from parity.report.junit import junit_xml
from parity.report.markdown import markdown
from parity.report.scatter import scatters
from parity.report.strips import strip_chart, strips
from parity.report.summary import summarise
from tests.parity.report_samples import bundle, report


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["exports/onnx-w8"], ["onnx-w8"]),
        (["a/onnx-w8", "b/onnx-w8"], ["a/onnx-w8", "b/onnx-w8"]),
        (["a/x/onnx-w8", "b/x/onnx-w8", "c/onnx-w8"], ["a/x/onnx-w8", "b/x/onnx-w8", "c/onnx-w8"]),
        (["a/x/onnx-w8", "b/x/onnx-w8/"], ["a/x/onnx-w8", "b/x/onnx-w8"]),
        (["onnx-w8", "old/onnx-w8"], ["onnx-w8", "old/onnx-w8"]),
        (["out/mine", "out/theirs"], ["onnx-w8 (mine)", "onnx-w8 (theirs)"]),
        (["out/onnx-w8", "out/onnx-w8-again"], ["onnx-w8", "onnx-w8-again"]),
        (["out/onnx-w8", "out/onnx-w8d"], ["onnx-w8", "onnx-w8 (onnx-w8d)"]),
        (["C:\\a\\onnx-w8", "C:\\b\\onnx-w8"], ["a/onnx-w8", "b/onnx-w8"]),
        ([".", "../onnx-w8"], ["onnx-w8 (.)", "onnx-w8"]),
        (["a/onnx-w8", "a/onnx-w8"], ["onnx-w8", "onnx-w8"]),  # on two runtimes
    ],
)  # fmt: skip
def test_the_shortest_path_that_tells_bundles_apart(paths: list[str], names: list[str]) -> None:
    assert distinct_names([Named("onnx-w8", path) for path in paths]) == names


def test_no_folder_takes_another_bundles_name() -> None:
    found = distinct_names(
        [Named("a", "x/a"), Named("a", "b (a)"), Named("a", "y/b"), Named("b (a)", "z")]
    )
    assert len(set(found)) == 4


@pytest.fixture
def twins() -> Report:
    old, new = (
        bundle("onnx", "w8", runtime="onnxruntime", path=f"exports/{folder}/onnx-w8")
        for folder in ("old", "new")
    )
    return report(bundle(), old, new.model_copy(update={"verdict": "FAIL", "reasons": ["bad"]}))


def test_every_form_of_the_report_names_the_folder(twins: Report) -> None:
    both = ("old/onnx-w8", "new/onnx-w8")
    assert [each.bundle for each in twins.tradeoffs] == ["tflite-fp32", *both]
    root = ElementTree.fromstring(junit_xml(twins))
    assert [suite.get("name") for suite in root][1:] == [f"{name}.onnxruntime" for name in both]
    lines = summarise(twins)
    for text in (html(twins), markdown(twins), strip_chart(strips(lines)), scatters(lines)[0].svg):
        for name in both:
            assert name in text
    assert "tflite-fp32" in markdown(twins) and "tflite-fp32 (" not in markdown(twins)


@pytest.mark.parametrize("width", [80, 132, 200])
def test_the_terminal_shows_the_whole_folder(twins: Report, width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    print_report(twins, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "old/" in text and "new/" in text and text.count("onnx-w8") == 3
    assert "FAIL new/onnx-w8 on onnxruntime" in text
    assert max(map(len, text.splitlines())) <= width
