"""Where each bundle runs: a row for each, a column for each kind of hardware, a verdict in each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from converters.schemes import TARGETS
from mobilesam.runtimes.table import HARDWARE, RUNNERS, files_of
from parity.report.figures import MISSING
from parity.schema import BundleReport

Kind = Literal["pass", "fail", "refused", "open", "none"]


@dataclass(frozen=True)
class Cell:
    """One bundle on one kind of hardware.

    Attributes:
        kind: ``open`` where it could be judged and was not, ``none`` where nothing runs its format.
        words: the verdict, in words.
        note: what the runtime refuses, or the image size where it is not that of most bundles.
    """

    kind: Kind
    words: str
    note: str = ""

    @property
    def text(self) -> str:
        """Words and note in one line."""
        return f"{self.words} ({self.note})" if self.note else self.words


@dataclass(frozen=True)
class Places:
    """The table.

    Attributes:
        columns: names of the hardware.
        rows: name of each bundle, and a cell for each column.
        engines: for each column, what computed there.
    """

    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    engines: list[str]


def places(bundles: Sequence[BundleReport]) -> Places | None:
    """The table of all bundles; None where each was judged on one kind of hardware only.

    Bundles of one name are one row: the same target and scheme may have been judged at a smaller
    image size where the hardware is emulated, which its cell then says.
    """
    tried = {bundle.hardware for bundle in bundles if bundle.hardware}
    columns = [name for name in HARDWARE if name in tried]
    columns += sorted(tried.difference(HARDWARE))
    usual = max((bundle.image_size or 0 for bundle in bundles), default=0)
    rows = []
    several = False
    for name in dict.fromkeys(bundle.bundle for bundle in bundles):
        own = [bundle for bundle in bundles if bundle.bundle == name]
        rows.append((name, [_cell(own, column, usual) for column in columns]))
        several |= len({bundle.hardware for bundle in own if bundle.hardware}) > 1
    if not several:
        return None
    return Places(columns, rows, [_engines(bundles, column) for column in columns])


def _cell(own: Iterable[BundleReport], column: str, usual: int) -> Cell:
    """Of one bundle's reports; on several runtimes the worst of them counts."""
    own = list(own)
    found = [bundle for bundle in own if bundle.hardware == column]
    if not found:
        # Not by what ran it: a row's runtime may name the emulated CPU or the compute units too.
        targets = [TARGETS[bundle.target] for bundle in own if bundle.target in TARGETS]
        files = {artefact.runtime for target in targets for artefact in target.artefacts}
        return Cell("open", "not tried") if _runs(files, column) else Cell("none", MISSING)
    failed = [bundle for bundle in found if bundle.verdict == "FAIL"]
    refused = [bundle for bundle in failed if bundle.refused]
    if refused and len(refused) == len(failed):
        return Cell("refused", "refused", refused[0].refused)
    size = found[0].image_size
    note = f"at {size}" if size and size != usual else ""
    return Cell("fail", "FAIL", note) if failed else Cell("pass", "PASS", note)


def _runs(files: set[str], column: str) -> bool:
    """Whether a runtime of that hardware runs such files; those without any run on every CPU."""
    return any(
        files_of(runtime) in files and (row.hardware or column) == column
        for runtime, row in RUNNERS.items()
        if row.hardware is not None or column.endswith("CPU")
    )


def _engines(bundles: Sequence[BundleReport], column: str) -> str:
    names = {b.engine: None for b in bundles if b.hardware == column and b.engine != b.runtime}
    return "; ".join(names)
