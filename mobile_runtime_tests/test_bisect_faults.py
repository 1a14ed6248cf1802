"""`bisect` names the op that is wrong, and none in a package that is right."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("coremltools", reason="coremltools is not installed")
from mobile_runtime_tests.helpers import Judge  # noqa: E402
from mobile_runtime_tests.planting import (  # noqa: E402
    Fault,
    Package,
    attribute_faults,
    weight_faults,
)
from mobilesam.bundle.contract import COMPONENTS, Component  # noqa: E402
from mobilesam.errors import BundleError  # noqa: E402
from mobilesam.inference.prompts import make_prompt  # noqa: E402
from mobilesam.runtimes.bundle import Bundle  # noqa: E402
from mobilesam_cli import app  # noqa: E402
from parity.bisection.alignment import Aligned  # noqa: E402
from parity.bisection.coreml import open_aligned  # noqa: E402
from parity.bisection.engine import Engine, EvaluatedOp  # noqa: E402
from parity.bisection.run import bisect_model, examine  # noqa: E402
from parity.bisection.sides import PromptedImage, Sides  # noqa: E402
from parity.bisection.verdict import find_fault  # noqa: E402
from parity.origin import Origin  # noqa: E402
from parity.thresholds import Thresholds  # noqa: E402
from tests.tiny_bundles import tiny_bundle, tiny_model  # noqa: E402

OF_EACH = 8
"""Faults of weights, and as many of attributes, planted in each of four packages."""

LOCATED = 0.95
REAL = {"fp32": 1e-4, "fp16": 1e-2}
"""By how much of its own size a fault must change what its op gives, so as not to be rounding."""


@dataclass
class Outcome:
    """What came of all faults."""

    exact: list[str] = field(default_factory=list)
    by_span: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @property
    def planted(self) -> int:
        return len(self.exact) + len(self.by_span) + len(self.missed)


def subject(size: int = 96) -> PromptedImage:
    """A photo with something in it, and a prompt with every kind of point."""
    generator = np.random.default_rng(5)
    rows, columns = np.mgrid[0:size, 0 : size * 4 // 3]
    smooth = np.stack([rows * 2, columns, rows + columns], axis=-1) % 256
    image = (smooth * 0.7 + generator.integers(0, 77, smooth.shape)).astype(np.uint8)
    points, labels, box = [[40, 50], [100, 20]], [1, 0], [20, 30, 90, 80]
    prompt = make_prompt(points, labels, box, original_size=image.shape[:2])
    return PromptedImage("made up", image, prompt)


def outputs_of(engine: Engine, sides: Sides, component: Component) -> dict[str, torch.Tensor]:
    """What each op gives, by its name, in a run of the file."""
    found: dict[str, torch.Tensor] = {}

    def keep(evaluated: EvaluatedOp) -> None:
        operation = engine.operations[evaluated.place]
        found[operation.name] = torch.cat([x.double().reshape(-1) for x in evaluated.outputs])

    engine.run(sides.inputs(component), keep)
    return found


def change(good: torch.Tensor, bad: torch.Tensor) -> float:
    """How much of its size an output changed, as a whole or at its worst element."""
    if bad.shape != good.shape or not torch.isfinite(bad).all():
        return float("inf")
    difference = (bad - good).abs()
    worst = difference.max() / good.abs().max()
    return max(float(worst), float(difference.norm() / good.norm()))


def spread(faults: Sequence[Fault], seed: int) -> Iterator[Fault]:
    """Faults of every kind in turn, kinds and places in the network in a random order."""
    kinds: dict[str, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    generator = random.Random(seed)
    groups = list(kinds.values())
    generator.shuffle(groups)
    for group in groups:
        generator.shuffle(group)
    for turn in range(max(map(len, groups))):
        yield from (group[turn] for group in groups if turn < len(group))


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Every fault planted in a copy on disk, and looked for."""
    found = Outcome()
    seeds = count()
    for scheme in REAL:
        bundle = tiny_bundle("coreml", scheme)
        sides = Sides(tiny_model(), bundle, subject())
        for component in COMPONENTS:
            package = Package(bundle.file(component, "coreml"))
            search = Search(package, component, scheme, sides, found)
            for faults in (weight_faults(package, scheme == "fp16"), attribute_faults(package)):
                wanted = found.planted + OF_EACH
                for fault in spread(list(faults), next(seeds)):
                    if found.planted < wanted:
                        search.plant(fault, tmp_path_factory.mktemp("planted"))
    return found


class Search:
    """Plants faults in one package, and notes where each was located."""

    def __init__(
        self, package: Package, component: Component, scheme: str, sides: Sides, found: Outcome
    ) -> None:
        self.package, self.component, self.scheme = package, component, scheme
        self.sides, self.found = sides, found
        self.limits = Thresholds().row("coreml", scheme).layers
        opened = self.open(package.path)
        self.good = outputs_of(opened.engine, sides, component)

    def open(self, path: Path) -> Aligned:
        """A package beside the model."""
        component = self.component
        return open_aligned(path, self.sides.program(component), self.sides.outputs(component))

    def plant(self, fault: Fault, folder: Path) -> None:
        """Plant one in a copy; what does not fit, or changes no more than rounding, is skipped."""
        edited = Package(self.package.path)
        fault.plant(edited)
        copy = edited.save(folder / self.package.path.name)
        try:
            opened = self.open(copy)
            bad = outputs_of(opened.engine, self.sides, self.component)
        except BundleError:
            self.found.skipped["does not fit the shapes"] += 1
            return
        if change(self.good[fault.op], bad[fault.op]) < REAL[self.scheme]:
            self.found.skipped["no more than rounding"] += 1
            return
        records = examine(opened, self.sides.inputs(self.component))
        located = find_fault(opened.engine, records, self.limits)
        title = f"{self.component} {self.scheme}: {fault.kind} at {fault.op}"
        if located is None:
            self.found.missed.append(f"{title}: not found")
        elif located.op.name == fault.op:
            self.found.exact.append(title)
        elif fault.op in located.span:
            self.found.by_span.append(title)
        else:
            self.found.missed.append(f"{title}: taken for {located.op.name}")


def test_planted_faults_are_located(outcome: Outcome) -> None:
    print(
        f"\n{outcome.planted} faults: {len(outcome.exact)} located exactly, "
        f"{len(outcome.by_span)} by span, {len(outcome.missed)} missed; skipped "
        f"{dict(outcome.skipped)}"
    )
    for line in (*outcome.exact, *outcome.by_span):
        print(f"  located {line}")
    for line in outcome.missed:
        print(f"  MISSED {line}")
    assert outcome.planted >= 60
    assert (len(outcome.exact) + len(outcome.by_span)) / outcome.planted >= LOCATED


@pytest.mark.parametrize("scheme", REAL)
def test_good_packages_have_no_fault(scheme: str) -> None:
    limits = Thresholds().row("coreml", scheme).layers
    report = bisect_model(tiny_bundle("coreml", scheme), tiny_model(), subject(), limits)
    assert report.verdict == "no fault", report.conclusion
    for part in report.components:
        assert part.aligned == len(part.ops)


@pytest.mark.parametrize("scheme", ["fp16"])  # the stricter half, for the sake of CI's time
def test_good_packages_of_other_weights_have_no_fault(
    scheme: str, bundles: dict[str, Path], other_bundle: Callable[[str], Path]
) -> None:
    for path in (bundles[f"coreml-{scheme}"], other_bundle(f"coreml-{scheme}")):
        bundle = Bundle(path)
        origin = Origin.of(bundle, None)
        model = origin.load()
        limits = Thresholds().row("coreml", scheme).layers
        report = bisect_model(bundle, model, subject(), limits)
        worst = max((op for part in report.components for op in part.ops), key=lambda op: op.rank)
        print(f"\n{path}: {report.conclusion}; excess {worst.excess}")
        assert report.verdict == "no fault", report.conclusion


def test_the_command_names_the_op(bundles: dict[str, Path], photos: Path, scratch: Path) -> None:
    path = bundles["coreml-fp16"]
    package = Package(Bundle(path).file("encoder", "coreml"))
    fault = list(weight_faults(package, half=True))[10]
    copy = scratch / path.name
    copy.mkdir()
    for part in path.iterdir():
        (copy / part.name).symlink_to(part)
    (copy / package.path.name).unlink()
    fault.plant(package)
    package.save(copy / package.path.name)
    image = next(photos.glob("*"))

    def ask(bundle: Path, *options: str) -> tuple[int, str]:
        line = ["bisect", str(bundle), "--image", str(image), "--point", "20,20", *options]
        result = CliRunner().invoke(app, line)
        return result.exit_code, result.stdout

    status, out = ask(copy, "--component", "encoder", "--json", "--report", str(scratch / "out"))
    found = json.loads(out)
    assert status == 1
    assert found["components"][0]["fault"]["op"]["name"] == fault.op
    assert fault.op in found["conclusion"]
    assert fault.op in (scratch / "out" / "bisect.html").read_text("utf-8")
    status, out = ask(path)
    assert status == 0
    assert "no fault" in out


def test_parity_measures_the_headroom_of_float16_files(
    bundles: dict[str, Path], judge: Judge
) -> None:
    parts = judge(bundles["coreml-fp16"], "coreml").headroom
    assert [part.component for part in parts] == list(COMPONENTS)
    for part in parts:
        assert part.least is not None and part.least.headroom_bits is not None
        print(f"\n{part.component}: {part.least.headroom_bits:.1f} bits at {part.least.name}")
        assert 0 < part.least.headroom_bits < 16
        assert part.least.largest == max(op.largest or 0.0 for op in part.ops)
    assert judge(bundles["coreml-fp32"], "coreml").headroom == []
