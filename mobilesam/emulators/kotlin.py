"""Kotlin's and Java's compilers, and the libraries of their tests.

root/          Debian's JDK 17 without a screen, JUnit, and org.json as Android has it
compiler/      Kotlin's compiler as npm publishes it (Debian's is of 2019)
"""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from filelock import FileLock

from mobilesam.emulators import debian
from mobilesam.emulators import folder as folder_of
from mobilesam.errors import MissingDependencyError, reason_of
from mobilesam.files import renewed_folder, sha256_of, write_whole

VERSION = "2.4.20"
SHA256 = "c23dab400d7ce5ea8b6c909947c0ca5454189e4bb1108695b5f464500e5e950f"
"""Of the archive that npm keeps of this version."""

PACKAGES = {
    "openjdk-17-jdk-headless": "bookworm",
    "junit4": "bookworm",
    "libandroid-json-java": "bookworm",
}

LEAVE_OUT = ("libc6", "libgcc-s1", "libstdc++6", "gcc-12-base")
"""What every program of this machine loads already, in its own version."""

COMPILER_CLASS = "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler"
COMPILER_OPTIONS = ("-no-stdlib", "-no-reflect")
"""With them the class path is the caller's whole choice."""

_RECORD = ".version"
_COMPILER = ("compiler", "stdlib", "reflect", "script-runtime", "daemon-client")
_JARS = ("junit4.jar", "hamcrest-core.jar", "com.android.json.jar")


def missing() -> str:
    """What is not there, in one sentence; empty where Kotlin and Java can be compiled."""
    home = folder_of("kotlin")
    parts = {
        "a JDK": debian.is_unpacked(
            PACKAGES, home / "root", architecture=debian.host(), leave_out=LEAVE_OUT
        ),
        "Kotlin's compiler": _have_compiler(home / "compiler"),
    }
    absent = [name for name, there in parts.items() if not there]
    if not absent:
        return ""
    return (
        f"Kotlin is not compiled without {' and '.join(absent)}: run 'make android-test' in a "
        "checkout of the project"
    )


def set_up(*, say: debian.Said = lambda now: None) -> None:
    """Download and unpack what is missing: 90 MB of npm, and packages of Debian.

    Args:
        say: called with what is being done.

    Raises:
        MissingDependencyError: this is no Linux machine that Debian's programs run on, npm is not
            here, or something cannot be downloaded or stored.
    """
    host = debian.require_host("Kotlin's tests are set up")
    home = folder_of("kotlin")
    debian.unpack(PACKAGES, home / "root", architecture=host, leave_out=LEAVE_OUT, say=say)
    _keep_links_inside(home / "root")
    with FileLock(home / "compiler.lock"):  # another process may want the same
        if not _have_compiler(home / "compiler"):
            say(f"Kotlin {VERSION} of npm")
            _unpack_compiler(home)


def java_home() -> Path:
    """Folder of the JDK; there after :func:`set_up`."""
    (found,) = (folder_of("kotlin") / "root/usr/lib/jvm").glob("java-17-openjdk-*")
    return found


def compiler() -> list[str]:
    """The beginning of a command that compiles Kotlin, to be run in :func:`environment`."""
    jars = [folder_of("kotlin") / "compiler/lib" / f"kotlin-{name}.jar" for name in _COMPILER]
    return [*java(jars), COMPILER_CLASS, *COMPILER_OPTIONS]


def java(class_path: Iterable[Path]) -> list[str]:
    """The beginning of a command that runs a Java class for seconds, on one core."""
    # Serial collection and the first compiler alone: a third of the default's processor time.
    quick = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return ["java", *quick, "-cp", os.pathsep.join(map(str, class_path))]


def libraries() -> list[Path]:
    """Kotlin's standard library, JUnit and org.json, as jar files for a class path."""
    home = folder_of("kotlin")
    java = [home / "root/usr/share/java" / name for name in _JARS]
    return [home / "compiler/lib/kotlin-stdlib.jar", *java]


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that runs Java or compiles Kotlin.

    Args:
        inherited: the variables that it would have otherwise.
    """
    native = sorted((folder_of("kotlin") / "root/usr/lib").glob("*-linux-gnu"))
    paths = [*map(str, native), inherited.get("LD_LIBRARY_PATH", "")]
    return {
        **inherited,
        "JAVA_HOME": str(java_home()),
        "PATH": os.pathsep.join([str(java_home() / "bin"), inherited.get("PATH", os.defpath)]),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, paths)),
    }


def _have_compiler(folder: Path) -> bool:
    try:
        return (folder / _RECORD).read_text("utf-8") == VERSION
    except OSError:
        return False


def _unpack_compiler(home: Path) -> None:
    archive = home / f"kotlin-compiler-{VERSION}.tgz"
    if not archive.is_file() or sha256_of(archive) != SHA256:
        _npm_pack(home)
        if not archive.is_file() or sha256_of(archive) != SHA256:
            archive.unlink(missing_ok=True)
            raise MissingDependencyError(
                f"npm's kotlin-compiler {VERSION} is another file than the one that was tested "
                f"(SHA-256 {SHA256}): check which registry npm asks"
            )
    with renewed_folder(home / "compiler") as made:
        with tarfile.open(archive) as packed:
            packed.extractall(made / "unpacked", filter="data")
        for path in (made / "unpacked/package").iterdir():
            shutil.move(path, made / path.name)
        shutil.rmtree(made / "unpacked")
        write_whole(made / _RECORD, VERSION)
    archive.unlink()


def _npm_pack(folder: Path) -> None:
    command = ["npm", "pack", "--silent", f"kotlin-compiler@{VERSION}"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise MissingDependencyError(
            f"Kotlin's compiler comes from npm, which cannot be started ({reason_of(error)}): "
            "install Node.js"
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise MissingDependencyError(f"npm cannot get kotlin-compiler {VERSION} ('{said}')")


def _keep_links_inside(root: Path) -> None:
    """Let links to absolute paths, such as ``/etc/java-17-openjdk``, lead into the folder."""
    for path in root.rglob("*"):
        if path.is_symlink() and (target := os.readlink(path)).startswith("/"):
            inside = root / target[1:]
            if not Path(target).is_relative_to(root) and os.path.lexists(inside):
                path.unlink()
                path.symlink_to(os.path.relpath(inside, path.parent))
