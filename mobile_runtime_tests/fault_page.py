"""The page about planted faults: how many files of each format fail, and a table for each kind."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from converters.schemes import TARGETS

RIGHT, GRAPH, WEIGHTS = "right files", "graph and inputs", "weights"
ACTIVATIONS, DESCRIPTION = "activations", "description"
KINDS = (RIGHT, GRAPH, WEIGHTS, ACTIVATIONS, DESCRIPTION)


ON = " on "
"""Between the bundle and the runtime, in the key of a verdict of another runtime than its own."""


class Verdict(NamedTuple):
    """What became of it: PASS, FAIL or NOT BUILT, the first check that failed, and its reason."""

    verdict: str
    metric: str
    reason: str


def markdown(found: Mapping[str, Verdict]) -> str:
    """The page: how many files of each format fail, and a table for each kind of fault."""
    own = {key: verdict for key, verdict in found.items() if ON not in key}
    parts = [HEAD, _summary(own)]
    if len(own) < len(found):
        parts.append(f"{OTHERS}\n\n{_other_runtimes(found)}")
    for kind in KINDS:
        parts.append(f"## {kind[0].upper()}{kind[1:]}\n\n{_table(kind, own)}")
    return "\n\n".join(parts) + "\n"


HEAD = """# What is wrong, and which check says so

Faults are planted in exported files, the manifest's digests made to agree as a careless converter
would leave them, and each file is judged. The model is a small one with every kind of layer and
random weights, so that files of other schemes than float32 are judged by what they say and hold,
and not by their masks; those in float32 by their masks too. A fault in the graph is opened in a
file that was converted once with all of them, shut, and that passes so; faults between layers, and
of the form of an output, are converted one by one (TorchScript and ONNX, the quickest), and
TorchScript alone can remember what it was asked. Where a cell is empty no such file was judged; NOT
BUILT says that a format does not store the tensor as an array of its own, or that its converter
refuses such outputs, "could not be run" that the runtime or our runner refused the file, "refused"
that it could not be exported or opened. One
fault passes: an epsilon of 1e-5 for 1e-6 in the neck moves the embedding by less than the limit of
1e-4. The page is made by `python -m mobile_runtime_tests.fault_table`."""


OTHERS = """## On other runtimes

The float32 files of the small model that are faulty by what they compute, asked on a runtime that
stands in for a phone's hardware (`--runtime NAME`)."""


def _other_runtimes(found: Mapping[str, Verdict]) -> str:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    passing: defaultdict[str, list[str]] = defaultdict(list)
    for key, verdict in found.items():
        bundle, on, runtime = key.partition(ON)
        if not on:
            continue
        kind, name, _, _ = _split(bundle)
        counts[runtime][f"right {verdict.verdict}" if kind == RIGHT else verdict.verdict] += 1
        if kind != RIGHT and verdict.verdict == "PASS":
            passing[runtime].append(name)
    columns = ("FAIL", "PASS", "right PASS", "right FAIL")
    lines = [
        "| runtime | faulty files that FAIL | that PASS | right files that PASS | that FAIL | "
        "faults that pass |",
        "|---|---|---|---|---|---|",
    ]
    for runtime, count in counts.items():
        cells = [str(count[column]) for column in columns] + ["; ".join(passing[runtime])]
        lines.append(f"| {runtime} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _split(key: str) -> tuple[str, str, str, str]:
    kind, _, rest = key.partition(": ")
    name, _, bundle = rest.rpartition(": ")
    target, _, scheme = bundle.partition("-")
    return kind, name, target, scheme


def _summary(found: Mapping[str, Verdict]) -> str:
    counts: Counter[tuple[str, str]] = Counter()
    for key, verdict in found.items():
        kind, _, target, _ = _split(key)
        counts[target, f"right {verdict.verdict}" if kind == RIGHT else verdict.verdict] += 1
    columns = ("FAIL", "PASS", "NOT BUILT", "right PASS", "right FAIL")
    lines = [
        "| format | faulty files that FAIL | that PASS | not built | right files that PASS | "
        "that FAIL |",
        "|---|---|---|---|---|---|",
    ]
    for target in TARGETS:
        lines.append(f"| {target} | " + " | ".join(str(counts[target, c]) for c in columns) + " |")
    total = " | ".join(str(sum(counts[t, c] for t in TARGETS)) for c in columns)
    return "\n".join([*lines, f"| all | {total} |"])


def _table(kind: str, found: Mapping[str, Verdict]) -> str:
    rows: defaultdict[str, defaultdict[str, list[tuple[str, Verdict]]]]
    rows = defaultdict(lambda: defaultdict(list))
    for key, verdict in found.items():
        own, name, target, scheme = _split(key)
        if own == kind:
            rows[name][target].append((scheme, verdict))
    lines = [f"| fault | {' | '.join(TARGETS)} |", "|---" * (1 + len(TARGETS)) + "|"]
    for name, cells in rows.items():
        lines.append(f"| {name} | " + " | ".join(_cell(cells[t]) for t in TARGETS) + " |")
    return "\n".join(lines)


def _cell(verdicts: Sequence[tuple[str, Verdict]]) -> str:
    """Verdicts that are the same, with their schemes."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for scheme, verdict in verdicts:
        groups[f"{verdict.verdict} {verdict.metric}".strip()].append(scheme)
    return "; ".join(f"{said} ({', '.join(schemes)})" for said, schemes in groups.items())
