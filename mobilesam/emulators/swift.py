"""Swift's compiler, its package manager and XCTest: Debian 13's, in a folder that is their root.

root/          every package that they need, the C library too; nothing of this machine is loaded

Programs are started in name spaces of their own (``unshare``), in which the folder is the root and
the folders that a command works on are mounted: no administrator's rights are needed where the
system lets users make name spaces.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from mobilesam.emulators import debian
from mobilesam.emulators import folder as folder_of

PACKAGES = dict.fromkeys(
    (
        *("swiftlang", "libc6-dev", "libstdc++-14-dev"),
        *("base-files", "bash", "coreutils", "findutils", "git"),  # what the root itself needs
    ),
    debian.NEWER,
)

_ENTER = """set -e
root=$1; shift
mkdir -p "$root/proc" "$root/dev" "$root/tmp"
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --rbind "$1" "$root$1"
    shift
done
shift
exec chroot "$root" "$@"
"""


def missing() -> str:
    """What is not there, in one sentence; empty where Swift can be compiled."""
    absent = ""
    if shutil.which("unshare") is None:
        absent = "the program unshare (of util-linux)"
    elif not debian.is_unpacked(PACKAGES, root(), architecture=debian.host()):
        absent = "Debian's swiftlang"
    elif not _may_enter():
        return (
            "Swift is not compiled here, because this system does not let its users make name "
            "spaces: use another machine, or its administrator's account"
        )
    if not absent:
        return ""
    return (
        f"Swift is not compiled without {absent}: run 'make swift-test' in a checkout of the "
        "project"
    )


def set_up(*, say: debian.Said = lambda now: None) -> None:
    """Download and unpack the compiler and all that it needs.

    Args:
        say: called with what is being done.

    Raises:
        MissingDependencyError: this is no Linux machine that Debian's programs run on, or
            something cannot be downloaded or stored.
    """
    host = debian.require_host("Swift's tests are set up")
    debian.unpack(PACKAGES, root(), architecture=host, say=say)


def root() -> Path:
    """The folder that Swift takes for the root of the file system."""
    return folder_of("swift") / "root"


def command(program: Sequence[str], folders: Iterable[Path], within: Path) -> list[str]:
    """A command that runs a program of Swift's root.

    Args:
        program: with its arguments, such as ``["swift", "build"]``.
        folders: that it sees, under the paths they have here; they must exist.
        within: the folder it is started in, one of them or inside one.
    """
    seen = [str(folder.resolve()) for folder in folders]
    named = [f"{n}={v}" for n, v in os.environ.items() if n.startswith("MOBILESAM_")]
    # The home folder is not seen: what the package manager keeps there goes into the root's /tmp.
    own = ["PATH=/usr/libexec/swift/bin:/usr/bin:/bin", "HOME=/tmp", "LANG=C.UTF-8", *named]
    inside = ["/usr/bin/env", "-i", f"--chdir={within.resolve()}", *own, *program]
    return [*_unshared(), "sh", "-c", _ENTER, "sh", str(root()), *seen, "--", *inside]


def _unshared() -> list[str]:
    return ["unshare", "--user", "--map-root-user", "--mount"]


def _may_enter() -> bool:
    return subprocess.run([*_unshared(), "true"], capture_output=True).returncode == 0
