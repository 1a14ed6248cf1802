"""What `bisect` says of what it found."""

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from converters.lookup import combinations
from parity.bisection.engine import Operation, OpInput, Value
from parity.bisection.report import BisectReport, print_report
from parity.bisection.schema import ComponentRecord, OpRecord
from parity.bisection.verdict import conclude, find_fault
from parity.report.profile import Ops, Series, error_profile, headroom_profile, part_of
from parity.thresholds import LayerLimits, Thresholds

LIMITS = LayerLimits(excess=4.0, relative_l2=2e-2)


def op(index: int, **changes: Any) -> OpRecord:
    fields: dict[str, Any] = {
        "index": index,
        "name": f"image_encoder_layers_{index}_blocks_0__add_{index}",
        "op_type": "add",
        "module": f"image_encoder.layers.{index}.blocks.0",
        "aligned": True,
        "finite": True,
        "largest": 100.0 * (index + 1),
        "headroom_bits": math.log2(655.04 / (index + 1)),
        "error_before": 1e-4,
        "error_after": 2e-4,
        "local_error": 3e-4,
        "rounding_error": 5e-4,
        "excess": 0.6,
    }
    return OpRecord(**(fields | changes))


class Chain:
    """Ops that each read the one before."""

    def __init__(self, ops: list[OpRecord]) -> None:
        self.operations = tuple(
            Operation(
                each.name,
                each.op_type,
                (OpInput(Value(ops[i - 1].name if i else "x", (), "float32"), False),),
                (Value(each.name, (), "float32"),),
            )
            for i, each in enumerate(ops)
        )


def report(ops: list[OpRecord], limits: LayerLimits | None = LIMITS) -> BisectReport:
    fault = find_fault(Chain(ops), ops, limits)  # type: ignore[arg-type]
    made = BisectReport(
        created="2026-01-01T00:00:00+00:00",
        tool_version="0",
        bundle="coreml-fp16",
        path="exports/<coreml>",
        target="coreml",
        scheme="fp16",
        runtime="coreml",
        weights="demo",
        image="photo.jpg",
        prompt="point 1,2 (foreground)",
        limits=limits,
        components=[
            ComponentRecord(component="encoder", file="f", engine="an engine", ops=ops, fault=fault)
        ],
    )
    made.conclusion = conclude(made)
    return made


UNKNOWN = {"aligned": False, "local_error": None, "excess": None, "rounding_error": None}


def test_the_first_op_beyond_its_limit_is_the_fault() -> None:
    made = report([op(0), op(1, excess=9.0, local_error=0.5), op(2, excess=99.0)])
    (part,) = made.components
    assert part.fault is not None and part.fault.op.index == 1
    assert made.verdict == "fault"
    assert part.fault.span == [part.ops[1].name]
    assert "fault at op image_encoder_layers_1_blocks_0__add_1 (add)" in made.conclusion
    assert "9.0 times what rounding explains" in made.conclusion


def test_ops_that_are_not_aligned_are_named_with_the_fault() -> None:
    ops = [op(0), op(1, **UNKNOWN), op(2, **UNKNOWN), op(3, excess=math.inf)]
    made = report(ops)
    fault = made.components[0].fault
    assert fault is not None and fault.span == [each.name for each in ops[1:]]
    assert f"or at one of the 2 before it from {ops[1].name} on" in made.conclusion


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"finite": False}, "not finite"),
        ({"excess": math.nan}, "infinitely more than"),
        ({"local_error": 0.03}, "rounding alone makes it wrong by 0.030"),
    ],
)
def test_causes(changes: dict[str, Any], cause: str) -> None:
    fault = report([op(0), op(1, **changes)]).components[0].fault
    assert fault is not None and cause in fault.cause


def test_without_a_fault_the_nearest_to_one_is_named() -> None:
    made = report([op(0), op(1, local_error=9e-4), op(2)])
    assert made.verdict == "no fault"
    assert made.conclusion == (
        "no fault: encoder: largest local error 9.0e-4 at "
        "image_encoder_layers_1_blocks_0__add_1, least fp16 headroom 7.7 bits at "
        "image_encoder_layers_2_blocks_0__add_2"
    )


def test_a_scheme_without_limits_is_ranked_only() -> None:
    made = report([op(0), op(1, excess=1e6, local_error=1.0)], None)
    assert made.verdict == "no fault"
    assert "no fault looked for, this scheme changes weights" in made.conclusion
    assert report([op(0, finite=False)], None).verdict == "fault"


def test_float_schemes_of_the_table_have_limits() -> None:
    limits = Thresholds()
    for target, scheme in combinations():
        assert (limits.row(target, scheme).layers is not None) == (scheme in ("fp32", "fp16"))


def test_the_terminal_shows_the_fault_first_and_the_conclusion_last() -> None:
    made = report([op(0, excess=3.0), op(1, excess=9.0), op(2), op(3)])
    for width in (80, 160):
        console = Console(width=width, record=True, file=open("/dev/null", "w"))
        print_report(made, console, top=2)
        lines = console.export_text().splitlines()
        assert "aligned 4 of 4 ops" in " ".join(lines)
        rows = [line for line in lines if line.strip()[:1].isdigit()]
        assert [row.split()[0] for row in rows] == ["1", "0"]
        assert "fault at op" in " ".join(lines[-6:])


def test_files_are_whole_and_read_back(tmp_path: Path) -> None:
    made = report([op(0), op(1, excess=math.inf, finite=False, largest=None, headroom_bits=None)])
    files = made.save(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "bisect.html",
        "bisect.json",
    ]
    stored = json.loads(files["json"].read_text("utf-8"))
    assert stored["schema_version"] == "1.0"
    assert stored["components"][0]["ops"][1]["excess"] is None
    assert BisectReport.model_validate(stored).verdict == "fault"
    page = files["html"].read_text("utf-8")
    assert "exports/&lt;coreml&gt;" in page and "<coreml>" not in page
    assert page.count("<svg") == 2 and page.count(">fault</text>") == 2


def heights(svg: str) -> dict[str, float]:
    """How far down each dot lies, by the text shown on it."""
    found = {}
    for group in ElementTree.fromstring(svg.replace("xlink:", "")).iter("g"):
        title, dot = group.find("title"), group.find("path")
        if title is not None and dot is not None:
            found[str(title.text)] = float(dot.get("d", "").split()[2])
    return found


def test_dots_lie_where_their_values_are() -> None:
    modules = ["image_encoder.patch_embed.seq.0", "image_encoder_layers_1_blocks_0__add", "add_2"]
    chart = headroom_profile(Ops("encoder", modules, ["a", "<b>", "c"]), [16.0, -4.0, None])
    dots = heights(chart.svg)
    assert set(dots) == {"0: a", "1: <b>"} and dots["0: a"] < dots["1: <b>"]
    assert "overflow" in chart.svg and ">fault<" not in chart.svg
    series = [Series("error", [1e-6, 0.0, math.nan, None])]
    along = Ops("encoder", [*modules, "d"], ["a", "b", "c", "d"], fault=1)
    errors = error_profile("errors", along, series)
    dots = heights(errors.svg)
    assert dots["2: c"] < dots["0: a"] < dots["1: b"], "not finite, small, none"
    assert len(dots) == 3 and errors.svg.count(">fault<") == 1
    assert ">patch_embed_seq<" in errors.svg and ">layers_1<" in errors.svg


@pytest.mark.parametrize(
    ("layer", "part"),
    [
        ("image_encoder.layers.1.blocks.0.attn", "layers_1"),
        ("image_encoder_layers_1_blocks_0__add_3_cast_fp16", "layers_1"),
        ("mask_decoder.transformer.layers.0.self_attn", "transformer_layers_0"),
        ("prompt_encoder_pe_layer__sin", "pe_layer"),
        ("image_encoder.neck.1", "neck"),
        ("image_to_fp16", ""),
        ("", ""),
    ],
)
def test_parts_of_the_network(layer: str, part: str) -> None:
    assert part_of(layer) == part
