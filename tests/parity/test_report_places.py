"""The table of where each bundle runs, in every output."""

from typing import Any

import pytest
from rich.console import Console

from mobilesam.runtimes.table import APPLE, ARM, HARDWARE, NPU, RUNNERS, X86, hardware_of
from parity.report import print_report
from parity.report.html import html
from parity.report.markdown import markdown
from parity.report.places import places
from parity.schema import BundleReport
from tests.parity.report_samples import bundle, report


def on(hardware: str, **more: Any) -> BundleReport:
    return bundle(hardware=hardware, image_size=1024, **more)


def refused() -> BundleReport:
    return on(ARM, scheme="w8", verdict="FAIL", refused="GATHER<2-D>", reasons=["no"])


SAMPLES = [
    on(X86),
    on(ARM, verdict="FAIL", reasons=["masks differ"]),
    on(X86, scheme="w8"),
    refused(),
    on(X86, scheme="fp16"),
    on(APPLE, target="coreml", runtime="coreml"),
]


def test_each_bundle_has_a_row_and_each_hardware_a_column() -> None:
    found = places(SAMPLES)
    assert found is not None
    assert found.columns == [X86, ARM, APPLE]
    assert {name: [cell.text for cell in cells] for name, cells in found.rows} == {
        "tflite-fp32": ["PASS", "FAIL", "–"],
        "tflite-w8": ["PASS", "refused (GATHER<2-D>)", "–"],
        "tflite-fp16": ["PASS", "not tried", "–"],
        "coreml-fp32": ["–", "–", "PASS"],
    }
    assert found.engines[0] == "LiteRT 2.3.0 (XNNPACK)"


def test_there_is_none_where_every_bundle_ran_on_one_only() -> None:
    assert places([SAMPLES[0], SAMPLES[5]]) is None
    assert places([bundle(), bundle(scheme="w8")]) is None  # a report older than 1.5
    assert places([]) is None


def test_of_several_runtimes_the_worst_counts() -> None:
    both = [on(X86), on(X86, runtime="torchscript", verdict="FAIL", reasons=["no"]), on(ARM)]
    found = places(both)
    assert found is not None and [cell.text for cell in found.rows[0][1]] == ["FAIL", "PASS"]


def test_a_verdict_at_another_size_says_so() -> None:
    found = places([on(X86), bundle(hardware=ARM, image_size=256)])
    assert found is not None and [cell.text for cell in found.rows[0][1]] == [
        "PASS",
        "PASS (at 256)",
    ]


@pytest.mark.parametrize("runtime", ["onnxruntime on cortex-a76", "onnxruntime (elsewhere)"])
def test_a_runtime_may_be_named_with_where_it_ran(runtime: str) -> None:
    elsewhere = on(ARM, target="onnx", runtime=runtime)
    found = places([on(X86), on(ARM), on(NPU), elsewhere])
    assert found is not None and found.columns == [X86, ARM, NPU]
    assert [cell.text for cell in dict(found.rows)["onnx-fp32"]] == [
        "not tried",
        "PASS",
        "not tried",
    ]


def test_every_output_shows_it() -> None:
    made = report(*SAMPLES)
    page, text = html(made), markdown(made)
    assert "Where it runs" in page and "GATHER&lt;2-D&gt;" in page
    assert "| tflite-w8 | PASS | refused" in text
    console = Console(width=160, record=True)
    print_report(made, console)
    assert "refused (GATHER<2-D>)" in console.export_text()


@pytest.mark.parametrize(
    ("processor", "name"),
    [("x86_64", X86), ("arm64", ARM), ("aarch64", ARM), ("riscv64", "riscv64 CPU")],
)
def test_a_cpu_is_named_by_its_architecture(processor: str, name: str) -> None:
    assert hardware_of("litert", processor) == name
    assert hardware_of("coreml", processor) == APPLE


def test_the_table_names_known_hardware() -> None:
    assert {row.hardware for row in RUNNERS.values()} <= {None, *HARDWARE}
