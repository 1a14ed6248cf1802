"""Looking things up in the table of targets and schemes, and printing it."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib.util import find_spec

from converters.plan import Plan
from converters.schemes import ALL, MIXED, TARGETS, Target
from mobilesam.errors import InputError, MissingDependencyError

NO_BACKENDS: Mapping[str, str] = {}


def row_of(target: str, backend: str = "") -> Target:
    """The row of a target as it is with a backend; its own where the name is none of others.

    Raises:
        InputError: unknown target.
    """
    row = known_target(target)
    return row.backends.get(backend, row)


def schemes_of(target: str) -> tuple[str, ...]:
    """Names of a target's schemes.

    Raises:
        InputError: unknown target.
    """
    return tuple(known_target(target).schemes)


def combinations(backends: Mapping[str, str] = NO_BACKENDS) -> tuple[tuple[str, str], ...]:
    """Every (target, scheme) there is.

    Args:
        backends: name of a target to that of its backend, where it is not the usual one.
    """
    return tuple(
        (target, scheme)
        for target in TARGETS
        for scheme in row_of(target, backends.get(target, "")).schemes
    )


def resolve(
    wanted: Sequence[str] = (ALL,),
    schemes: Sequence[str] | None = None,
    backends: Mapping[str, str] = NO_BACKENDS,
) -> list[tuple[str, str]]:
    """The combinations a user asked for, each once, in the table's order.

    Args:
        wanted: target names; ``all`` stands for every target, one in beta only where its packages
            are installed.
        schemes: scheme names; None or ``all`` stands for every scheme of each target. A scheme
            that a target *named by the user* lacks is refused; ``all`` takes what there is.
        backends: as of :func:`combinations`.

    Raises:
        InputError: unknown target or scheme, or a combination that does not exist.
    """
    if not wanted or schemes is not None and not schemes:
        raise InputError("no target or scheme was named: name at least one, or 'all'")
    named = [_known(name, TARGETS, "target") for name in wanted if name != ALL]
    offered = {scheme: None for _, scheme in combinations()}
    refused = {scheme: None for row in TARGETS.values() for scheme in row.refused}
    asked = [
        _known(name, offered | refused, "scheme", shown=offered)
        for name in schemes or (ALL,)
        if name != ALL
    ]
    every_scheme = schemes is None or ALL in schemes
    for target in named:
        for scheme in asked:
            if scheme not in row_of(target, backends.get(target, "")).schemes:
                raise InputError(_no_such_combination(target, scheme, backends.get(target, "")))
    meant = {*named, *(targets_of_all() if ALL in wanted else ())}
    chosen = [
        (target, scheme)
        for target, scheme in combinations(backends)
        if target in meant and (every_scheme or scheme in asked)
    ]
    if not chosen:
        raise InputError(f"no target offers {', '.join(asked)}; there are {_listing()}")
    return chosen


def targets_of_all() -> tuple[str, ...]:
    """What ``all`` stands for here: every target, one in beta where its packages are installed."""
    return tuple(n for n, row in TARGETS.items() if not row.beta or missing_package(n) is None)


def meaning_of(target: str, scheme: str, backend: str = "") -> str:
    """What a scheme means for a target, in words."""
    row = row_of(target, backend)
    return row.by_plan if scheme == MIXED else row.schemes[scheme]


def least_tested(target: str, scheme: str, backend: str = "") -> dict[str, str]:
    """The oldest version of each runtime on which a scheme's files gave right masks."""
    return {a.runtime: a.least_tested[scheme] for a in row_of(target, backend).artefacts}


def is_calibrated(target: str, scheme: str, plan: Plan | None = None) -> bool:
    """Whether a scheme's ranges come from photos."""
    calibrated = known_target(target).calibrated
    return scheme in calibrated or (plan is not None and bool(plan.precisions & {*calibrated}))


def calibration_methods() -> tuple[str, ...]:
    """Every way of finding ranges that some target has."""
    return tuple(dict.fromkeys(m for row in TARGETS.values() for m in row.calibration_methods))


def require_plan(target: str) -> None:
    """Check that a target can be exported by a plan.

    Raises:
        InputError: it cannot, or there is no such target.
    """
    if not known_target(target).by_plan:
        able = ", ".join(name for name, row in TARGETS.items() if row.by_plan)
        raise InputError(f"target '{target}' takes no scheme file; {able} does")


def missing_package(target: str, backend: str = "") -> str | None:
    """The first package that converts to a target and is not installed."""
    packages = row_of(target, backend).packages
    absent = (package for package in packages if find_spec(package.replace("-", "_")) is None)
    return next(absent, None)


def require(target: str, backend: str = "") -> None:
    """Check that the packages which convert to a target are installed.

    Raises:
        MissingDependencyError: names the first that is missing and the extra that brings it.
    """
    package = missing_package(target, backend)
    if package is not None:
        raise MissingDependencyError(
            f"target '{target}' needs {package}, which is not installed: "
            f'pip install "mobilesam-export[{row_of(target, backend).extra}]"'
        )


def markdown_table() -> str:
    """Targets and schemes with what they mean, as ``docs/targets.md`` shows them."""
    lines = [
        "| target | scheme | files | runtime | least tested runtime | what it means |",
        "|---|---|---|---|---|---|",
    ]
    for target, scheme in combinations():
        row = TARGETS[target]
        files = ", ".join(f"`{a.suffix}`" for a in row.artefacts)
        runtimes = ", ".join(
            a.runtime + (f" ({a.note.partition(':')[0]})" if a.note else "") for a in row.artefacts
        )
        least = ", ".join(dict.fromkeys(least_tested(target, scheme).values()))
        cells = [f"`{target}`", f"`{scheme}`", files, runtimes, least, row.schemes[scheme]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def tick_table() -> str:
    """Which target has which scheme, as the README shows it."""
    longest_first = sorted(TARGETS.values(), key=lambda row: -len(row.schemes))
    names = list(dict.fromkeys(scheme for row in longest_first for scheme in row.schemes))
    lines = ["| | " + " | ".join(f"`{name}`" for name in names) + " |"]
    lines.append("|---|" + ":-:|" * len(names))
    for target, row in TARGETS.items():
        ticks = " | ".join("✓" if name in row.schemes else "" for name in names)
        lines.append(f"| {row.title}, `{target}` | {ticks} |")
    return "\n".join(lines) + "\n"


def least_tested_table() -> str:
    """The least tested runtime of every target and its schemes, as the README shows it."""
    lines = ["| target | schemes | least tested runtime |", "|---|---|---|"]
    for target, row in TARGETS.items():
        by_runtime: dict[str, list[str]] = {}
        for scheme in (*row.schemes, *([MIXED] if row.by_plan else [])):
            said = ", ".join(dict.fromkeys(least_tested(target, scheme).values()))
            by_runtime.setdefault(said, []).append(f"`{scheme}`")
        lines += [f"| `{target}` | {', '.join(s)} | {said} |" for said, s in by_runtime.items()]
    return "\n".join(lines) + "\n"


def refused_table() -> str:
    """What is not offered, and why, as ``docs/quantization.md`` shows it."""
    lines = ["| target | scheme | why not |", "|---|---|---|"]
    for target, row in TARGETS.items():
        by_reason: dict[str, list[str]] = {}
        for scheme, reason in row.refused.items():
            by_reason.setdefault(reason, []).append(f"`{scheme}`")
        lines += [f"| `{target}` | {', '.join(s)} | {why} |" for why, s in by_reason.items()]
    return "\n".join(lines) + "\n"


def known_target(name: str) -> Target:
    """The row of a target.

    Raises:
        InputError: unknown target.
    """
    return TARGETS[_known(name, TARGETS, "target")]


def _known(
    name: str, known: Mapping[str, object], kind: str, shown: Mapping[str, object] | None = None
) -> str:
    if name in known:
        return name
    near = get_close_matches(name.lower(), known, n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise InputError(f"unknown {kind} '{name}', known: {', '.join(shown or known)}{hint}")


def _no_such_combination(target: str, scheme: str, backend: str) -> str:
    row = row_of(target, backend)
    reason = row.refused.get(scheme)
    because = f" ({reason})" if reason else ""
    if row is TARGETS[target]:
        return f"{target} has no scheme '{scheme}'{because}; there are {_listing()}"
    there = ", ".join(row.schemes)
    return f"{target} on {backend} has no scheme '{scheme}'{because}; there are {there}"


def _listing() -> str:
    return "; ".join(f"{target}: {', '.join(row.schemes)}" for target, row in TARGETS.items())
