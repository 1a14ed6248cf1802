"""Trade-offs as arithmetic, and what the pages draw of them."""

import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from parity.report import Report, figures, print_report
from parity.report.html import html
from parity.report.markdown import markdown
from parity.report.scatter import scatters
from parity.report.summary import summarise
from parity.report.svg import PALETTE, SERIES
from parity.report.tradeoff import front
from parity.schema import BundleReport, Tradeoff
from tests.parity.report_samples import (
    PIXEL,
    altered,
    bundle,
    case,
    failing,
    measurements,
    report,
)

CASES = [
    case("coffee", "box", "end_to_end", [0.9, 0.8, None, 1.0]),
    case("chelsea", "box", "end_to_end", [1.0, 0.9, 0.9, 0.9]),
    case("coffee", "box", "decoder", [0.1, 0.1, 0.1, 0.1]),
]


def point(scheme: str, mb: float, iou: float, speed: float = 1.0, **more: object) -> BundleReport:
    """A bundle of a size, a mean mask IoU, and so many times the reference's latency."""
    fields: dict[str, object] = {
        "size_bytes": {"encoder": int(mb * 6e5), "decoder": int(mb * 4e5)},
        "cases": [case("coffee", "box", "end_to_end", [iou] * 4)],
        "measurements": measurements(speed),
    }
    return bundle(**{"target": "tflite", "scheme": scheme, **fields, **more})  # type: ignore[arg-type]


def only(*bundles: BundleReport) -> list[Tradeoff]:
    return report(*bundles).tradeoffs


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([], []),
        ([(1.0, 0.9)], [True]),
        ([(1, 0.9), (2, 0.95), (3, 0.94), (4, 0.99)], [True, True, False, True]),
        ([(1, 0.9), (1, 0.8)], [True, False]),
        ([(1, 0.9), (2, 0.9)], [True, False]),
        ([(1, 0.9), (1, 0.9)], [True, True]),
    ],
)
def test_front(points: list[tuple[float, float]], kept: list[bool]) -> None:
    assert front(points) == kept


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9))
def test_front_rises_and_covers_the_rest(points: list[tuple[float, float]]) -> None:
    kept = sorted({p for p, on in zip(points, front(points), strict=True) if on})
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in zip(kept, kept[1:], strict=False))
    assert all(any(k[0] <= p[0] and k[1] >= p[1] for k in kept) for p in points)


def test_drops_are_means_over_end_to_end_masks_and_cases_with_human_masks() -> None:
    own = CASES[0].model_copy(update={"human_iou_reference": 0.8, "human_iou_export": 0.5})
    other = CASES[1].model_copy(update={"human_iou_reference": 0.6, "human_iou_export": 0.7})
    half = CASES[1].model_copy(update={"human_iou_reference": 0.6})
    (found,) = only(bundle(cases=[own, other, half, CASES[2]]))
    # 0.9 + 0.8 + 1.0, and twice 1.0 + 3 x 0.9: eleven masks.
    assert found.mask_iou == pytest.approx(10.1 / 11)
    assert found.drop == pytest.approx(0.9 / 11)
    assert found.human_drop == pytest.approx((0.3 - 0.1) / 2)
    assert found.size_mb == pytest.approx(48.713579)
    assert found.encoder_s == pytest.approx(0.806)
    assert only(altered())[0].drop is None
    assert only(bundle(cases=CASES[1:]))[0].human_drop is None


def test_slower_is_of_the_same_target_runtime_and_threads_in_one_run() -> None:
    fp32, w8 = point("fp32", 50, 1, 0.5), point("w8", 13, 0.99, 0.65)
    assert [each.slower for each in only(fp32, w8)] == [None, pytest.approx(1.3)]
    one_thread = [m.model_copy(update={"threads": 1}) for m in measurements(0.65)]
    emulated = measurements(0.65, real=False)
    for other in (
        point("w8", 13, 0.99, 0.5),
        point("w8", 13, 0.99, 0.65, runtime="other"),
        point("w8", 13, 0.99, 0.65, target="onnx"),
        point("w8", 13, 0.99, 0.65, engine="LiteRT on another machine"),
        point("w8", 13, 0.99, 0.65, image_size=512),
        point("w8", 13, 0.99, measurements=one_thread),
        point("w8", 13, 0.99, measurements=emulated),
        point("w8", 13, 0.99, measurements=[]),
        point("fp32", 13, 0.99, 0.65),
    ):
        assert only(fp32, other)[1].slower is None
    assert only(w8)[0].slower is None
    assert only(fp32, point("fp16", 26, 0.999, 0.6))[1].slower == pytest.approx(1.2)
    fast = point("fp32", 50, 1, 0.26, path="elsewhere")
    assert only(fp32, fast, w8)[2].slower == pytest.approx(2.5)


def test_fronts_leave_out_what_fails_and_that_of_latency_what_is_slower() -> None:
    found = only(
        point("fp32", 50, 0.98, 0.5),
        point("w8", 13, 0.99, 0.6),
        point("w8a8", 12, 0.9, 0.3),
        point("w8d", 12, 0.89, 0.2, measurements=[]),
        point("w4", 8, 0.95, 0.1, verdict="FAIL"),
    )
    assert [each.on_size_front for each in found] == [False, True, True, False, False]
    assert [each.on_latency_front for each in found] == [True, False, True, False, False]
    small = point("w4", 2, 1, 0.01, image_size=256)
    assert only(point("fp32", 50, 0.98, image_size=1024), small)[0].on_size_front


def test_report_json_holds_them_and_they_are_never_read() -> None:
    written = report(point("fp32", 50, 1, 0.5), point("w8", 13, 0.99, 0.65))
    stored = json.loads(written.model_dump_json())
    assert stored["tradeoffs"][1]["slower"] == pytest.approx(1.3)
    assert stored["tradeoffs"][1]["drop"] == pytest.approx(0.01)
    stored["tradeoffs"][1]["slower"] = None
    assert Report.model_validate(stored).tradeoffs == written.tradeoffs


def test_every_table_marks_what_is_slower_and_states_the_drops() -> None:
    human = [CASES[0].model_copy(update={"human_iou_reference": 0.8, "human_iou_export": 0.75})]
    made = report(point("fp32", 50, 1, 0.5), point("w8", 13, 0.99, 0.65, cases=human))
    console = Console(file=io.StringIO(), width=160)
    print_report(made, console)
    for text in (html(made), markdown(made), console.file.getvalue()):  # type: ignore[attr-defined]
        assert re.search(r"1\.3×( |<br>)as slow( |<br>)as fp32", text)
        assert "0.1000" in text and "0.0500" in text
    calm = report(point("fp32", 50, 1, 0.5), point("w8", 13, 0.99, 0.45))
    assert "as slow" not in html(calm) and "Hollow" not in html(calm)


def test_chart_says_what_it_leaves_out_and_is_not_drawn_of_one_bundle() -> None:
    made = report(
        point("fp32", 50, 1, 0.5),
        point("w8", 13, 0.99, 0.65),
        point("w4", 8, 0.9, measurements=[]),
        point("p4", 8, 0.9, measurements=measurements(3, real=False)),
        altered(),
    )
    size, latency = scatters(summarise(made))
    assert [p.name for p in size.points] == ["tflite-w4", "tflite-p4", "tflite-w8", "tflite-fp32"]
    assert [p.name for p in latency.points] == ["tflite-fp32", "tflite-w8, 1.3× as slow"]
    assert [(p.slower, p.front) for p in latency.points] == [(False, True), (True, False)]
    assert size.left_out == [("no mask was judged", ["✕ executorch-fp32"])]
    assert [names for _, names in latency.left_out] == [
        ["tflite-w4"],
        ["tflite-p4"],
        ["✕ executorch-fp32"],
    ]
    page = html(made)
    assert "Left out (not measured): tflite-w4." in page
    assert page.count(">slower than fp32</text>") == 2
    for shown in ("tflite-w4", "tflite-p4", "tflite-w8", "tflite-fp32"):
        assert f">{shown}</text>" in size.svg
    assert ">tflite-w8, 1.3× as slow</text>" in latency.svg
    assert ">Pareto front</text>" in size.svg and ">fails, and is on no front<" not in size.svg
    assert scatters(summarise(report(bundle()))) == []
    assert 'id="tradeoff"' not in html(report(bundle()))


def test_a_name_without_room_is_stated_below_the_chart() -> None:
    many = [point(f"w{i}", 10 + i / 1000, 0.99, path=f"exports/{i}") for i in range(60)]
    size = scatters(summarise(report(*many)))[0]
    written = [p.name for p in size.points if f">{p.name}</text>" in size.svg]
    assert 0 < len(written) < 60
    assert {*written, *size.unnamed} == {p.name for p in size.points}
    assert not set(written) & set(size.unnamed)
    assert size.points[0].front and size.points[0].name in written


def test_charts_are_the_same_every_time_and_take_the_pages_colours() -> None:
    made = report(point("fp32", 50, 1, 0.5), point("w8", 13, 0.99, 0.65, verdict="FAIL"))
    page = html(made)
    assert page == html(made)
    charts = page[page.index("<body") :]
    assert not re.search('#[0-9a-f]{6}[;"]', charts), "every colour has a dark shade too"
    names = set(re.findall(r"var\(--([a-z0-9-]+)\)", page))
    assert names <= set(PALETTE) and {"series2", "fail"} <= names
    for name in names:
        assert page.count(f"--{name}: #") == 2
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_colours_of_the_palette_are_told_apart() -> None:
    assert len({light for light, _ in PALETTE.values()}) == len(PALETTE)
    assert len({colour for colour, _ in SERIES}) == len({shape for _, shape in SERIES}) == 5


def test_hostile_names_are_drawn_as_they_are() -> None:
    odd = point("fp32", 50, 1, bundle="<b>$x^2$ \x1b&", path="elsewhere")
    size, _ = scatters(summarise(report(odd, point("w8", 13, 0.99))))
    assert ">&lt;b&gt;$x^2$ \ufffd&amp;</text>" in size.svg


def test_a_quantized_bundle_that_fails_shows_its_worst_case() -> None:
    page = html(report(bundle(), failing().model_copy(update={"scheme": "w8a8"})))
    section = page[page.index('id="b1"') :]
    assert section.index("✕ missed") < section.index(PIXEL) < section.index("By type of prompt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (figures.drop(0.0101), "0.0101"),
        (figures.drop(1 - 0.99995), "0.0001"),
        (figures.drop(0.0), "0.0000"),
        (figures.drop(-0.0123), "−0.0123"),
        (figures.drop(-0.00001), "0.0000"),
        (figures.drop(None), "–"),
        (figures.speed(1.3, "fp32"), "1.3× as slow as fp32"),
        (figures.speed(2.54), "2.5× as slow"),
        (figures.speed(1.0001), "1.01× as slow"),
        (figures.speed(12.4), "12× as slow"),
        (figures.speed(1 / 4.8, "PyTorch"), "4.8× as fast as PyTorch"),
        (figures.speed(0.4981), "2.0× as fast"),
        (figures.speed(1 / 1.049), "1.04× as fast"),
        (figures.speed(0.9999, "PyTorch"), "as fast as PyTorch"),
        (figures.speed(1.0), "as fast"),
        (figures.speed(None, "fp32"), "–"),
    ],
)
def test_figures(text: str, expected: str) -> None:
    assert text == expected
