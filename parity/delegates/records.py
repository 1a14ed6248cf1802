"""What a delegate says of a file."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["whole", "partly", "none", "refused", "unknown"]


@dataclass(frozen=True)
class Outside:
    """Ops of one kind that a delegate does not take.

    Attributes:
        op: as the file's format, or the delegate, names it.
        count: how many.
        reason: why, in a clause.
    """

    op: str
    count: int
    reason: str


@dataclass(frozen=True)
class Found:
    """What is known of one file on one delegate.

    Attributes:
        verdict: ``whole``: every op is taken; ``partly``: some are; ``none``: no op is;
            ``refused``: the file cannot be compiled for it; ``unknown``: it could not be asked.
        how: how that is known: who was asked, or whose rules were applied.
        total: ops of the file, constants not counted; None where nothing says.
        partitions: pieces that the delegate makes of the file; None where only running it tells.
        outside: what stays outside, the most frequent first.
        note: what else there is to know, such as how to get what was to be asked.
    """

    verdict: Verdict
    how: str
    total: int | None = None
    partitions: int | None = None
    outside: tuple[Outside, ...] = ()
    note: str = ""

    @classmethod
    def unknown(cls, why: str) -> "Found":
        """Nothing is known, and why."""
        return cls("unknown", "not asked", note=why)

    @classmethod
    def of(
        cls,
        how: str,
        total: int,
        outside: Mapping[tuple[str, str], int],
        *,
        partitions: int | None = None,
        note: str = "",
    ) -> "Found":
        """What follows from how many ops stay outside, by name and reason."""
        ranked = sorted(outside.items(), key=lambda item: (-item[1], item[0]))
        listed = tuple(Outside(op, count, reason) for (op, reason), count in ranked)
        verdict: Verdict = "whole"
        if listed:
            verdict = "partly" if sum(outside.values()) < total else "none"
        return cls(verdict, how, total, partitions, listed, note)

    @property
    def taken(self) -> int | None:
        """Ops that the delegate takes."""
        if self.total is None or self.verdict in ("refused", "unknown"):
            return None
        return self.total - sum(each.count for each in self.outside)


@dataclass(frozen=True)
class Answer:
    """What one delegate says of one file of a bundle."""

    delegate: str
    component: str
    file: str
    found: Found

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        found = self.found
        return {
            "delegate": self.delegate,
            "component": self.component,
            "file": self.file,
            "verdict": found.verdict,
            "ops": found.total,
            "taken": found.taken,
            "partitions": found.partitions,
            "outside": [vars(each) for each in found.outside],
            "how": found.how,
            "note": found.note,
        }


def reasons(outside: Iterable[Outside]) -> str:
    """What stays outside, in one line: ``10 GATHER, 2 CAST (XNNPACK has no kernel for it)``."""
    grouped: dict[str, list[str]] = {}
    for each in outside:
        grouped.setdefault(each.reason, []).append(f"{each.count} {each.op}")
    return "; ".join(f"{', '.join(ops)} ({reason})" for reason, ops in grouped.items())
