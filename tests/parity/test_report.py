"""What is written from a report: every figure and verdict, in every form, and only whole files."""

import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from mobilesam.errors import InputError, MissingDependencyError
from parity.report import Report, print_report
from parity.report.html import html, require_page
from parity.report.junit import junit_xml
from parity.report.markdown import markdown
from parity.report.strips import strip_chart, strips
from parity.report.summary import counts, headline, summarise
from parity.schema import SCHEMA_VERSION, Headroom, OpRange
from tests.parity.report_samples import (
    PIXEL,
    altered,
    bundle,
    cases,
    emulated,
    failing,
    measurements,
    mixed,
    report,
)


class Page(HTMLParser):
    """Collects attributes and text, and checks that every element is closed in order."""

    VOID = {"meta", "img", "br"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text: list[str] = []
        self.rows: list[int] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"{tag} closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def _terminal(written: Report, width: int) -> str:
    stream = io.StringIO()
    print_report(written, Console(file=stream, width=width))
    return stream.getvalue()


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    paths = mixed().save(folder)
    assert {kind: path.name for kind, path in paths.items()} == {
        "json": "report.json",
        "html": "report.html",
        "md": "report.md",
        "junit": "junit.xml",
    }
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in paths.values())
    text = paths["json"].read_text(encoding="utf-8")
    back = Report.model_validate_json(text)
    assert back.model_dump_json() == mixed().model_dump_json()
    values = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert values["schema_version"] == SCHEMA_VERSION
    assert values["bundles"][1]["encoder"][0]["relative_l2"] is None
    assert "NaN" not in text


def test_reports_in_place_are_replaced_only_by_whole_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report(bundle()).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def cut_off(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", cut_off)
    with pytest.raises(InputError, match="no space left on device"):
        mixed().save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_in_the_folders_place_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot be written to"):
        report(bundle()).save(tmp_path / "file")


@pytest.mark.parametrize("library", ["jinja2", "matplotlib", "textalloc"])
def test_what_the_page_lacks_is_said_before_long_work(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parity.report.svg.find_spec", lambda name: None if name == library else 1)
    if library == "jinja2":
        monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingDependencyError, match=rf"(?i){library}.*\[report\]"):
        require_page()


def test_page_needs_nothing_else() -> None:
    text = html(mixed())
    page = Page(text)
    assert not re.search(r"https?:|@import|url\(|<script|<link", text)
    for tag, name, value in page.attributes:
        if name in ("src", "href"):
            assert value.startswith(("data:image/", "#")), (tag, value)
        assert not name.startswith("on")
    targets = {value for _, name, value in page.attributes if name == "id"}
    links = {value[1:] for _, name, value in page.attributes if name == "href"}
    assert links and links <= targets
    assert sum(value == PIXEL for _, name, value in page.attributes if name == "src") == 4


def test_page_says_everything() -> None:
    words = Page(html(mixed())).words
    assert "2 of 4 bundles pass" in words
    assert "The demo weights were trained by this toolkit" in words
    for name in ("tflite-fp32", "onnx-fp16", "coreml-fp16", "executorch-fp32"):
        assert name in words
    assert "LiteRT 2.3.0 (XNNPACK)" in words
    assert "✕ missed" in words and "✓ met" in words
    assert "mask <b>|0|</b> & co" in words  # escaped: seen as it is, not obeyed
    assert "encoder.pte differs from the manifest's SHA-256" in words
    assert "not finite" in words
    assert "0.98999999 ≥ 0.99" in words  # never rounded up to what it misses
    assert "28.1 20.6" in words and "806 887 2.0× as fast" in words
    assert "A mask is degenerate when it covers < 0.1% of the image." in words
    assert "mobilesam parity exports/*/ --threads 2" in words


def test_the_verdict_comes_first_then_the_tradeoffs_then_the_details() -> None:
    page = html(mixed())
    places = [page.index(text) for text in ("<h1", ">All bundles<", ">What size and speed cost<")]
    places += [page.index(text) for text in (">Every mask against", ">Checks<", ">This run<")]
    assert places == sorted(places)


def test_every_mask_has_its_dot() -> None:
    found = strips(summarise(mixed()))
    assert [len(strip.distances) for strip in found] == [59, 59, 59]  # 60, one of them degenerate
    assert [strip.limit for strip in found] == pytest.approx([0.01] * 3)
    svg = strip_chart(found)
    for name in ("✓ tflite-fp32 on litert", "✕ onnx-fp16 on onnxruntime", "✓ coreml-fp16"):
        assert f">{name}</text>" in svg
    dots = [int(n) for n in re.findall(r"<title>(\d+) masks?</title>", svg)]
    assert sum(dots) == 3 * 59
    assert strip_chart([]) == ""


def test_passing_page_has_no_warnings() -> None:
    words = Page(html(report(bundle()))).words
    assert "1 of 1 bundle passes" in words
    for absent in ("demo weights", "FAIL", "missed", "emulates"):
        assert absent not in words


def test_shown_masks_are_in_every_output() -> None:
    own = cases(1e-4)
    for case in own[-2:]:  # of 15 end to end
        case.shown_iou = 0.42161
    written = report(bundle(cases=own))
    page = Page(html(written)).words
    assert "0.4216 0.92" in page and "13.4 %" in page  # rounded up: never less than there is
    text = markdown(written)
    assert "0.4216 | 0.92" in text and "13.4 %" in text and "below 0.9" in text
    assert "shown" in _terminal(written, 132) and "0.4216" in _terminal(written, 132)


def test_warnings_are_in_every_output() -> None:
    sentence = "No photo can show red and blue exchanged: all are gray."
    written = report(bundle(), warnings=[sentence])
    assert sentence in Page(html(written)).words
    assert f"> Warning: {sentence}" in markdown(written)
    assert f"warning: {sentence}" in _terminal(written, 132)
    found = ElementTree.fromstring(junit_xml(written)).find(".//property[@name='warning']")
    assert found is not None and found.get("value") == sentence


def test_notes_of_a_bundle_are_shown() -> None:
    noted = report(bundle(notes=["'ten points' needs 11 slots: not judged"]))
    assert "needs 11 slots" in Page(html(noted)).words
    assert "needs 11 slots" in markdown(noted)


def test_emulated_costs_are_nowhere() -> None:
    written = report(emulated())
    line = summarise(written)[0]
    assert line.emulated and line.encoder.median_s is line.encoder.memory_mb is None
    assert line.encoder.load_s is line.decoder.ratio is None
    page = Page(html(written)).words
    for text in (page, markdown(written), _terminal(written, 160)):
        assert "4836" not in text and "301" not in text  # three times the reference's medians
        assert "emulates" in text


def test_ratio_is_only_of_equal_threads() -> None:
    line = summarise(report(bundle()))[0]
    assert line.encoder.ratio == pytest.approx(0.5)
    assert line.encoder.memory_mb == pytest.approx(401.5 - 90.25)
    other = [m.model_copy(update={"threads": 1}) for m in measurements()]
    assert summarise(report(bundle(), reference=other))[0].encoder.ratio is None


def test_bundle_passes_only_on_all_its_runtimes() -> None:
    second = bundle(runtime="other", verdict="FAIL", reasons=["x"])
    written = report(bundle(), second, emulated())
    assert counts(written) == (1, 2)
    assert headline(written) == "1 of 2 bundles pass"
    assert headline(report()) == "No bundle was checked"
    assert "No bundle was checked" in Page(html(report())).words


def test_junit_has_a_suite_a_bundle_and_a_case_a_check() -> None:
    root = ElementTree.fromstring(junit_xml(mixed()))
    assert root.attrib == {"name": "parity", "tests": "8", "failures": "4"}
    names = [suite.get("name") for suite in root]
    assert names == [
        "tflite-fp32.litert",
        "onnx-fp16.onnxruntime",
        "coreml-fp16.coreml",
        "executorch-fp32.executorch",
    ]
    first, second = root[0], root[1]
    assert first.get("failures") == "0" and len(first.findall("testcase")) == 2
    failure = second.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "0.98999, asked >= 0.99; worst: coffee, box, mask 2"
    assert failure.get("type") == "mask_iou_min"
    for suite in root:
        cases = [case.get("name") for case in suite.findall("testcase")]
        assert len(set(cases)) == len(cases) == int(suite.get("tests", ""))


def test_junit_fails_where_no_check_could_be_made() -> None:
    hostile = altered().model_copy(update={"reasons": ["gone \x00\x1b]&<"]})
    root = ElementTree.fromstring(junit_xml(report(hostile)))
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None and failure.text == "gone \ufffd\ufffd]&<"
    assert root.get("failures") == "1"


def test_markdown_tables_are_whole() -> None:
    text = markdown(mixed())
    assert text.startswith("# 2 of 4 bundles pass\n")
    assert "> The demo weights were trained by this toolkit" in text
    assert "mask \\<b\\>\\|0\\|\\</b\\> & co" in text
    tables = re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.M)
    assert len(tables) == 7  # overview; checks and prompts of three bundles
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(widths) == 1
    assert "| **MISSED** |" in text
    assert "    mobilesam parity exports/*/ --threads 2" in text


@pytest.mark.parametrize("width", [80, 132, 200])
def test_terminal_keeps_names_and_figures_whole(width: int) -> None:
    lite = bundle("torchscript", "fp32", runtime="lite_interpreter")
    full = bundle("torchscript", "fp32", runtime="torchscript")
    text = _terminal(report(failing(), lite, full, emulated()), width)
    for whole in ("torchscript-fp32", "lite_interpreter", "onnx-fp16", "coreml-fp16", "0.9995"):
        assert whole in text
    assert "mask <b>|0|</b> & co" in text
    assert text.rstrip().endswith("2 of 3 bundles pass")
    assert max(map(len, text.splitlines())) <= width
    assert ("5th" in text) == (width >= 132)


def test_headroom_of_a_float16_file_is_drawn_and_its_least_stated() -> None:
    ops = [
        OpRange(name="image_to_fp16", largest=255.0, headroom_bits=8.0),
        OpRange(name="image_encoder_neck_1__square", largest=9410.0, headroom_bits=2.799),
        OpRange(name="image_encoder_neck_1__equal", largest=None, headroom_bits=None),
    ]
    own = bundle("coreml", "fp16", headroom=[Headroom(component="encoder", image="x", ops=ops)])
    made = report(own, bundle())
    line = "Least float16 headroom: encoder 2.7 bits at image_encoder_neck_1__square."
    page = html(made)
    Page(page)
    assert page.count(line) == 1 and page.count('aria-label="float16 headroom') == 2
    assert line in markdown(made).replace("\\", "")
    console = Console(file=io.StringIO(), width=140)
    print_report(made, console)
    assert f"coreml-fp16 on litert: {line}" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_file_that_overflows_is_told_so_first_and_never_given_bits() -> None:
    ops = [
        OpRange(name="image_to_fp16", largest=255.0, headroom_bits=8.0),
        OpRange(name="neck__square", largest=None, headroom_bits=None, overflow="infinity"),
        OpRange(name="neck__sqrt", largest=None, headroom_bits=None, overflow="not a number"),
    ]
    decoder = [OpRange(name="mul_3", largest=4000.0, headroom_bits=4.03)]
    parts = [
        Headroom(component="encoder", image="cup", ops=ops),
        Headroom(component="decoder", image="cup", prompt="box", ops=decoder),
    ]
    made = report(bundle("coreml", "fp16", headroom=parts))
    line = (
        "float16 overflows in the encoder, first at neck__square (infinity), then in 1 more op, "
        "on cup. Least float16 headroom: decoder 4.0 bits at mul_3."
    )
    page = html(made)
    assert line in Page(page).words and "1: neck__square overflows" in page
    assert line in markdown(made).replace("\\", "")
    assert line in _terminal(made, 300) and "8.0 bits" not in page
    old = made.model_dump()
    for op in old["bundles"][0]["headroom"][0]["ops"]:
        del op["overflow"]
    assert "image_to_fp16" in _terminal(Report.model_validate(old), 300)


def test_the_least_tested_runtime_is_in_the_report() -> None:
    stated = report(bundle(least_tested="LiteRT 2.1.0"))
    said = "LiteRT 2.3.0 (XNNPACK); least tested: LiteRT 2.1.0"
    assert said in Page(html(stated)).words
    assert "; least tested: LiteRT 2.1.0" in markdown(stated)
    assert Report.model_validate_json(stated.model_dump_json()).bundles[0].least_tested
    assert "least tested" not in markdown(report(bundle()))
