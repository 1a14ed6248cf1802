"""What this environment can do: packages compared with the ranges that were tested.

Read from the installed packages' metadata alone, so that nothing heavy is imported and a broken
library cannot break the examination.
"""

import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Literal

from packaging.requirements import Requirement

from mobilesam.cores import available_cores
from mobilesam.emulators import EMULATORS, emulator
from mobilesam.errors import MissingDependencyError
from mobilesam.weights.download import cache_folder
from mobilesam.weights.published import OFFICIAL, PUBLISHED

DISTRIBUTION = "mobilesam-export"

ROLES = {
    "torch": "reference, torchscript",
    "coremltools": "converter, runtime",
    "litert-torch": "converter",
    "ai-edge-litert": "runtime",
    "ai-edge-quantizer": "converter",
    "onnx": "converter",
    "onnxscript": "converter",
    "onnxruntime": "runtime",
    "onnxruntime-qnn": "runtime",
    "executorch": "converter, runtime",
    "torchao": "converter",
    "coreai-torch": "converter, runtime",
    "coreai-opt": "converter",
}
"""What a distribution is for; those not listed only help."""

_NOT_FEATURES = ("all", "dev")
_BASE = "base"


@dataclass(frozen=True)
class Package:
    """One requirement and what is installed of it; ``installed`` is None where nothing is."""

    name: str
    role: str
    tested: str
    installed: str | None
    state: Literal["ok", "untested version", "missing"]


@dataclass(frozen=True)
class Feature:
    """An extra of this distribution, or ``base``: usable when no package is missing."""

    name: str
    packages: tuple[Package, ...]

    @property
    def usable(self) -> bool:
        """Whether everything is installed, in whatever version."""
        return all(package.state != "missing" for package in self.packages)

    @property
    def install(self) -> str:
        """The command that completes it."""
        wanted = DISTRIBUTION if self.name == _BASE else f"{DISTRIBUTION}[{self.name}]"
        return f'pip install "{wanted}"'


@dataclass(frozen=True)
class StandIn:
    """What stands in for a phone's hardware; ``missing`` says what it lacks and how to get it."""

    name: str
    stands_for: str
    missing: str


@dataclass(frozen=True)
class Environment:
    """What `examine` found."""

    version: str
    python: str
    system: str
    cpus: int
    coreml_engine: str
    cache: str
    official_weights: str | None
    features: tuple[Feature, ...]
    stand_ins: tuple[StandIn, ...]

    def as_dict(self) -> dict:
        """For JSON, with ``usable`` and ``install`` of each feature spelled out."""
        extras = [{"usable": f.usable, "install": f.install} for f in self.features]
        described = asdict(self)
        for feature, extra in zip(described["features"], extras, strict=True):
            feature.update(extra)
        return described


def examine() -> Environment:
    """Look at the environment of this process.

    Raises:
        MissingDependencyError: this package itself is not installed, only its files are there.
    """
    try:
        own = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        raise MissingDependencyError(
            f"{DISTRIBUTION} is not installed in this environment, only its source is on the path: "
            'run pip install -e ".[all]" in the project folder'
        ) from None
    requirements = [Requirement(text) for text in own.requires or ()]
    extras = [e for e in own.metadata.get_all("Provides-Extra") or () if e not in _NOT_FEATURES]
    weights = cache_folder() / PUBLISHED[OFFICIAL].file_name
    return Environment(
        version=own.version,
        python=platform.python_version(),
        system=platform.platform(),
        cpus=available_cores(),
        coreml_engine=(
            "Core ML itself" if platform.system() == "Darwin" else "op-by-op evaluator (not a Mac)"
        ),
        cache=str(cache_folder()),
        official_weights=str(weights) if weights.is_file() else None,
        features=tuple(_feature(name, requirements) for name in (_BASE, *extras)),
        stand_ins=tuple(
            StandIn(name, words, emulator(name).missing()) for name, words in EMULATORS.items()
        ),
    )


def _feature(name: str, requirements: list[Requirement]) -> Feature:
    extra = "" if name == _BASE else name
    packages = []
    for requirement in requirements:
        # A requirement of the base has no marker; one of an extra is asked for by that extra only.
        if (requirement.marker is None) == (extra == "") and (
            requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        ):
            packages.append(_package(requirement))
    return Feature(name, tuple(packages))


def _package(requirement: Requirement) -> Package:
    installed: str | None
    state: Literal["ok", "untested version", "missing"]
    try:
        installed = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        installed, state = None, "missing"
    else:
        fits = requirement.specifier.contains(installed, prereleases=True)
        state = "ok" if fits else "untested version"
    bounds = sorted(str(bound) for bound in requirement.specifier)
    tested = ", ".join(reversed(bounds))
    return Package(requirement.name, ROLES.get(requirement.name, ""), tested, installed, state)
