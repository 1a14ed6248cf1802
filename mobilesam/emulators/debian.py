"""Debian packages unpacked into a folder: nothing is installed, and no root's rights are needed.

apt works on a configuration, package lists and an empty list of installed packages of its own, so
that it finds every dependency, for any architecture, and leaves the machine's own apt alone.
Packages are checked by Debian's signatures. Where this machine's apt goes through a proxy, so does
this one.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from mobilesam.emulators import folder as folder_of
from mobilesam.errors import InputError, MissingDependencyError
from mobilesam.files import renewed_folder, write_whole
from mobilesam.weights.download import CACHE_VARIABLE

SUITES = ("bookworm", "bookworm-backports")
"""What packages can be taken from: Debian 12, and newer versions built for it."""

NEWER = "trixie"
"""Debian 13, for what Debian 12 lacks. Its programs need its own C library, so that a folder holds
packages of this suite or of the others, and its programs run with that folder as their root."""

MIRROR_VARIABLE = "MOBILESAM_DEBIAN"
"""Environment variable that names another mirror than Debian's own."""

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
RECORD = ".debian-packages.json"
"""In an unpacked folder: what was asked for, and the version of each package that is there."""

_HOSTS = {"x86_64": "amd64", "aarch64": "arm64"}
_PLANNED = re.compile(r"^Inst (\S+) \((\S+) ", re.MULTILINE)

Said = Callable[[str], None]


def host() -> str:
    """This machine's architecture in Debian's words; empty where Debian's programs do not run."""
    return _HOSTS.get(platform.machine(), "") if sys.platform == "linux" else ""


def require_host(what: str) -> str:
    """This machine's architecture in Debian's words.

    Args:
        what: cannot be had elsewhere, as the beginning of a sentence: "lavapipe is set up".

    Raises:
        MissingDependencyError: Debian's programs do not run on this machine.
    """
    if not host():
        raise MissingDependencyError(
            f"{what} on Linux on x86-64 or ARM processors: this is {platform.system()} on "
            f"{platform.machine()}"
        )
    return host()


def unpack(
    packages: Mapping[str, str],
    folder: Path,
    *,
    architecture: str,
    leave_out: Collection[str] = (),
    say: Said = lambda now: None,
) -> dict[str, str]:
    """Download packages and everything that they depend on, and unpack them into a folder.

    The folder appears when it is whole, or not at all. A download that was cut goes on at the next
    call, and nothing is done where the folder holds just this already. Links that packages make
    when they are installed, and scripts that they run then, are left out.

    Args:
        packages: name of each package and its suite, one of :data:`SUITES`, or :data:`NEWER` for
            all of them. Where one comes from backports, so do those of its dependencies that are
            newer there.
        folder: of another request, it is replaced.
        architecture: in Debian's words: ``amd64``, ``arm64``.
        leave_out: packages not to be unpacked, such as ``libc6`` where the programs of this
            machine load the libraries beside their own.
        say: called with what is being done.

    Returns:
        The version of each package that is in the folder.

    Raises:
        InputError: a suite is unknown, or Debian 13's stands beside others.
        MissingDependencyError: apt or Debian's keys are not here, Debian cannot be reached, a
            package is not found, or the folder cannot be written.
    """
    suites = (NEWER,) if NEWER in packages.values() else SUITES
    unknown = sorted(set(packages.values()) - {*SUITES, NEWER})
    if unknown:
        known = ", ".join((*SUITES, NEWER))
        raise InputError(f"unknown suite '{unknown[0]}' of Debian, known: {known}")
    if not set(packages.values()) <= set(suites):
        raise InputError(f"packages of {NEWER} and of another suite cannot share a folder")
    _require_tools()
    state = folder_of("debian") / architecture
    wanted = _request(packages, architecture, leave_out)
    with _writing(folder):
        state.mkdir(parents=True, exist_ok=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(state.with_name(f"{architecture}.lock")):
            if is_unpacked(packages, folder, architecture=architecture, leave_out=leave_out):
                return json.loads((folder / RECORD).read_text("utf-8"))["versions"]
            _configure(state, architecture, suites, "bookworm-backports" in packages.values())
            names = [f"{name}/{suite}" for name, suite in packages.items()]
            say("Debian's package lists")
            _apt(state, "update")
            planned = dict(_PLANNED.findall(_apt(state, "install", "--simulate", *names)))
            say(f"{len(planned)} packages of Debian for {architecture}: download")
            _apt(state, "install", "--download-only", "--yes", *names)
            versions = {name: each for name, each in planned.items() if name not in leave_out}
            say(f"{len(versions)} packages of Debian for {architecture}: unpack")
            with renewed_folder(folder) as made:
                for name, version in versions.items():
                    _extract(state, name, version, made)
                record = wanted | {"versions": versions}
                write_whole(made / RECORD, json.dumps(record, indent=1))
            shutil.rmtree(state / "archives")
    return versions


def is_unpacked(
    packages: Mapping[str, str],
    folder: Path,
    *,
    architecture: str,
    leave_out: Collection[str] = (),
) -> bool:
    """Whether a folder holds what :func:`unpack` makes of these arguments."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        wanted = _request(packages, architecture, leave_out)
        return {name: record[name] for name in wanted} == wanted
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _request(packages: Mapping[str, str], architecture: str, leave_out: Collection[str]) -> dict:
    return {
        "packages": dict(packages),
        "architecture": architecture,
        "leave_out": sorted(leave_out),
    }


def _require_tools() -> None:
    for tool in ("apt-get", "apt-config", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise MissingDependencyError(
                f"packages of Debian are fetched with {tool}, which this machine does not have: "
                "use Debian or Ubuntu, or one of their containers"
            )
    if not KEYRING.is_file():
        raise MissingDependencyError(
            f"packages of Debian are checked with its keys, and {KEYRING} is not there: "
            "run 'apt-get install debian-archive-keyring'"
        )


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say in a sentence that something cannot be stored."""
    try:
        yield
    except OSError as error:
        raise MissingDependencyError(
            f"packages of Debian cannot be unpacked into '{folder}' "
            f"({(error.strerror or str(error)).lower()}): set {CACHE_VARIABLE} to a folder that "
            "is writable and has space"
        ) from error


def _configure(state: Path, architecture: str, suites: Collection[str], backports: bool) -> None:
    """Write apt's configuration, sources, preferences and its empty list of installed packages."""
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True, exist_ok=True)
    mirror = os.environ.get(MIRROR_VARIABLE) or MIRROR
    sources = (f"deb [signed-by={KEYRING}] {mirror} {suite} main\n" for suite in suites)
    # Backports are otherwise taken for nothing but what is named, not for what that depends on.
    preferences = "Package: *\nPin: release n=bookworm-backports\nPin-Priority: 500\n"
    write_whole(state / "sources.list", "".join(sources))
    write_whole(state / "preferences", preferences if backports else "")
    write_whole(state / "status", "")
    settings = {
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": state / "preferences",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State": state,
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "Dir::Cache::archives": state / "archives",
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # the user _apt may not read a user's cache
        "APT::Update::Error-Mode": "any",  # a list that was not fetched is an error, no warning
        "Acquire::Languages": "none",
        "Acquire::http::Timeout": "30",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "true",  # our own lock is held, and root's are not to be had
    }
    lines = [f'{name} "{value}";\n' for name, value in settings.items()]
    lines = ["#clear APT::Architectures;\n", *_proxies(), "#clear Acquire::Languages;\n", *lines]
    write_whole(state / "apt.conf", "".join(lines))


def _proxies() -> list[str]:
    """How this machine's apt reaches the network, as lines of a configuration."""
    dumped = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True)
    lines = dumped.stdout.splitlines(keepends=True)
    return [line for line in lines if not line.startswith("Acquire::IndexTargets")]


def _apt(state: Path, *arguments: str) -> str:
    """What apt-get prints.

    Raises:
        MissingDependencyError: it failed, with the first thing that it says about it.
    """
    done = subprocess.run(
        ["apt-get", "-q", *arguments],
        env=os.environ | {"APT_CONFIG": str(state / "apt.conf"), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        said = [line[3:] for line in done.stderr.splitlines() if line.startswith("E: ")]
        reason = " ".join(said[0].split()) if said else f"exit status {done.returncode}"
        raise MissingDependencyError(
            f"packages of Debian cannot be had ('{reason}'): check the network, or set "
            f"{MIRROR_VARIABLE} to a mirror of Debian that can be reached"
        )
    return done.stdout


def _extract(state: Path, name: str, version: str, folder: Path) -> None:
    found = list((state / "archives").glob(f"{name}_{version.replace(':', '%3a')}_*.deb"))
    archive = found[0] if found else state / "archives" / f"{name}_{version}.deb"
    done = subprocess.run(
        ["dpkg-deb", "--extract", str(archive), str(folder)], capture_output=True, text=True
    )
    if done.returncode:
        reason = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        archive.unlink(missing_ok=True)  # so that the next call fetches it again
        raise MissingDependencyError(
            f"Debian's package '{name}' cannot be unpacked ('{reason}'): run the command again"
        )
