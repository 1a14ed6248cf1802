"""What a manifest says, held against its contract, the table of schemes and the files."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from converters.base import LICENCE
from converters.lookup import is_calibrated, meaning_of, row_of
from converters.schemes import COREML, MIXED, Target
from mobilesam.bundle.contract import CONTRACT_VERSION
from mobilesam.bundle.manifest import Manifest, SignatureRecord, size_on_disk
from mobilesam.bundle.paths import require_inside
from mobilesam.bundle.prescribed import prescribed
from mobilesam.errors import BundleError, InputError
from mobilesam.runtimes.bundle import Bundle

ORIGIN = ("variant", "weights", "tools", "export_key")
"""Fields that say where a bundle comes from: no contract determines them."""

_CHECKED = (
    *("target", "scheme", "files", "calibration", "options", "licence", "least_tested"),
    "activation_ranges",
)
"""Fields that are checked below, with the file (``options``), or by the audit of activations."""


def manifest_differences(bundle: Bundle, runtime: str, altered: Collection[str]) -> list[str]:
    """Every way in which a manifest is not as its contract and its files want it, as clauses.

    Args:
        runtime: whose files are looked at.
        altered: paths of files that are not as exported, of which no more is said.
    """
    manifest = bundle.manifest
    return [
        *_of_contract(manifest),
        *_of_scheme(manifest),
        *_of_runtimes(manifest),
        *_of_files(bundle, runtime, altered),
    ]


def compared_fields(manifest: Manifest) -> frozenset[str]:
    """The fields of a manifest that are compared with something, or are of its origin."""
    return frozenset({*prescribed(manifest.contract), *_CHECKED, *ORIGIN})


def _of_contract(manifest: Manifest) -> Iterator[str]:
    contract = manifest.contract
    fits = contract.stride > 0 and contract.channels > 0 and contract.slots >= 2
    if not fits or contract.image_size <= 0 or contract.image_size % contract.stride:
        yield (
            f"image_size {contract.image_size}, stride {contract.stride}, channels "
            f"{contract.channels} and slots {contract.slots} make no contract"
        )
        return
    counts = contract.slot_counts
    if counts and (list(counts) != sorted({*counts}) or counts[-1] != contract.slots):
        yield f"slot_counts are {list(counts)}, not ascending up to slots {contract.slots}"
    major, _, minor = manifest.contract_version.partition(".")
    if not minor.isdigit() or int(minor) > int(CONTRACT_VERSION.partition(".")[2]):
        yield f"contract_version is {manifest.contract_version}, not one up to {CONTRACT_VERSION}"
    wanted = prescribed(contract)
    found = manifest.model_dump()
    del wanted["contract_version"]
    for name, value in wanted.items():
        yield from _differing(name, found[name], _plain(value))
    if manifest.licence != LICENCE:
        yield f"licence is '{manifest.licence}', bundles have '{LICENCE}'"


def _of_runtimes(manifest: Manifest) -> Iterator[str]:
    known = [artefact.runtime for artefact in _row(manifest).artefacts]
    for runtime in manifest.least_tested:
        if runtime not in known:
            yield f"least_tested names {runtime}, target '{manifest.target}' has {', '.join(known)}"


def _row(manifest: Manifest) -> Target:
    """The target's, or that of the backend that the manifest names."""
    return row_of(manifest.target, _backend(manifest))


def _backend(manifest: Manifest) -> str:
    return manifest.options.get("backend", "")


def _plain(value: Any) -> Any:
    """Records as they are dumped."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value.model_dump() if isinstance(value, SignatureRecord) else value


def _differing(place: str, found: Any, wanted: Any) -> Iterator[str]:
    """Where two values of the same form differ, down to single numbers and words."""
    if isinstance(found, Mapping) and isinstance(wanted, Mapping):
        for key in dict.fromkeys((*wanted, *found)):
            if key not in found or key not in wanted:
                missing = "is missing" if key not in found else "is not of the contract"
                yield f"{place}.{key} {missing}"
            else:
                yield from _differing(f"{place}.{key}", found[key], wanted[key])
        return
    if (
        _is_list(found)
        and _is_list(wanted)
        and len(found) == len(wanted)
        and any(isinstance(each, Mapping) for each in wanted)
    ):
        for one, other in zip(found, wanted, strict=True):
            yield from _differing(f"{place}.{other['name']}", one, other)
        return
    if _is_list(found) and _is_list(wanted):
        if list(found) != list(wanted):
            yield f"{place} is {_short(found)}, the contract says {_short(wanted)}"
    elif type(found) is not type(wanted) or found != wanted:
        yield f"{place} is {_short(found)}, the contract says {_short(wanted)}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _short(value: Any) -> str:
    if _is_list(value) and any(isinstance(each, Mapping) for each in value):
        return "[" + ", ".join(str(each["name"]) for each in value) + "]"
    return str(list(value)) if _is_list(value) else repr(value)


def _of_scheme(manifest: Manifest) -> Iterator[str]:
    target, scheme = manifest.target, manifest.scheme
    try:
        meaning = meaning_of(target, scheme.name, _backend(manifest))
    except (InputError, KeyError):
        yield f"scheme '{scheme.name}' of target '{target}' is none that there is"
        return
    agree = scheme.meaning == meaning
    if manifest.contract_version != CONTRACT_VERSION:
        agree = _terms(scheme.meaning) <= _terms(meaning)
    if not agree:
        yield f"scheme.meaning is '{scheme.meaning}', {scheme.name} of {target} is '{meaning}'"
    if scheme.name != MIXED and is_calibrated(target, scheme.name) != bool(manifest.calibration):
        said = "states" if manifest.calibration else "lacks"
        yield (
            f"manifest {said} a calibration, which {scheme.name} of {target} does not have"
            if (manifest.calibration)
            else f"manifest {said} the calibration, which {scheme.name} of {target} has"
        )


def _terms(text: str) -> set[str]:
    """Dtypes, names of schemes and numbers; other words change, and new versions say more."""
    return set(re.findall(r"\w*\d[\w.%]*", text))


def _of_files(bundle: Bundle, runtime: str, altered: Collection[str]) -> Iterator[str]:
    manifest = bundle.manifest
    artefacts = {a.runtime: a for a in _row(manifest).artefacts}
    records = [record for record in manifest.files if record.runtime == runtime]
    for component, count in Counter(record.component for record in records).items():
        if count > 1:
            yield f"files have {count} entries of the {component} for {runtime}"
    for component in manifest.signatures:
        if component not in {record.component for record in records}:
            yield f"files have no {component} for {runtime}"
    if runtime not in artefacts:
        yield f"runtime '{runtime}' is none of target '{manifest.target}'"
        return
    for record in records:
        where = f"files: '{record.path}'"
        if not record.path.endswith(artefacts[runtime].suffix):
            yield f"{where} does not end in '{artefacts[runtime].suffix}'"
        if record.note != artefacts[runtime].note:
            yield f"{where} has the note '{record.note}', not '{artefacts[runtime].note}'"
        if record.function and runtime != COREML:
            yield f"{where} names the function '{record.function}', only Core ML's files have any"
        twins = [other for other in manifest.files if other.path == record.path]
        if any((t.sha256, t.size_bytes) != (record.sha256, record.size_bytes) for t in twins):
            yield f"{where} has several digests or sizes"
        if len(twins) > 1 and not all(twin.function for twin in twins):
            yield f"{where} is named for several components, without a function for each"
        try:
            size = size_on_disk(require_inside(bundle.path, record.path))
        except BundleError as error:
            yield str(error)
            continue
        if record.path not in altered and size != record.size_bytes:
            yield f"{where} has {size} bytes, the manifest says {record.size_bytes}"
