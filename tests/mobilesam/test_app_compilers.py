"""Kotlin's and Swift's compilers: what is fetched, checked and said, with nothing downloaded."""

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from mobilesam.emulators import EMULATORS, debian, kotlin, swift
from mobilesam.emulators.__main__ import main
from mobilesam.errors import MissingDependencyError

NPM = """#!/bin/sh
[ -e "$FAKE/packed.tgz" ] || { echo "npm error 404" >&2; exit 1; }
echo "$@" >> "$FAKE/asked"
cp "$FAKE/packed.tgz" "kotlin-compiler-%s.tgz"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, with an npm that gives ``packed.tgz`` and a Debian that gives a JDK."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "npm").write_text(NPM % kotlin.VERSION)
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(debian, "host", lambda: "amd64")

    def unpack(packages: object, folder: Path, **_: object) -> None:
        jdk = folder / "usr/lib/jvm/java-17-openjdk-amd64"
        jdk.mkdir(parents=True, exist_ok=True)
        (folder / "etc/java").mkdir(parents=True, exist_ok=True)
        if not (jdk / "conf").is_symlink():
            (jdk / "conf").symlink_to("/etc/java")

    monkeypatch.setattr(debian, "unpack", unpack)
    return tmp_path / "cache/emulators/kotlin"


def pack(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let npm have a package of the right digest."""
    inside = folder / "package"
    (inside / "lib").mkdir(parents=True)
    (inside / "lib/kotlin-compiler.jar").write_text("classes")
    with tarfile.open(folder / "packed.tgz", "w:gz") as packed:
        packed.add(inside, "package")
    digest = hashlib.sha256((folder / "packed.tgz").read_bytes()).hexdigest()
    monkeypatch.setattr(kotlin, "SHA256", digest)


def test_the_compiler_is_unpacked_once(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(tmp_path, monkeypatch)
    kotlin.set_up()
    kotlin.set_up()
    assert (home / "compiler/lib/kotlin-compiler.jar").read_text() == "classes"
    assert (tmp_path / "asked").read_text().splitlines() == [
        f"pack --silent kotlin-compiler@{kotlin.VERSION}"
    ]
    assert not list(home.glob("*.tgz"))
    (link,) = home.rglob("conf")
    assert link.resolve() == home / "root/etc/java", "the JDK reads no file of this machine"
    assert kotlin.environment({"PATH": "/bin"})["JAVA_HOME"] == str(kotlin.java_home())


def test_another_package_than_the_tested_one_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(tmp_path, monkeypatch)
    monkeypatch.setattr(kotlin, "SHA256", "0" * 64)
    with pytest.raises(MissingDependencyError, match="is another file than the one"):
        kotlin.set_up()
    assert not (home / "compiler").exists() and not list(home.glob("*.tgz"))


def test_what_npm_says_is_passed_on(home: Path) -> None:
    with pytest.raises(MissingDependencyError, match="npm error 404"):
        kotlin.set_up()
    assert "Kotlin's compiler" in kotlin.missing()
    assert "make android-test" in kotlin.missing()


def test_without_npm_it_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(home))
    with pytest.raises(MissingDependencyError, match=r"install Node\.js"):
        kotlin.set_up()


def test_a_command_of_swift_sees_its_folders_and_no_other_variables(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "1")
    command = swift.command(["swift", "test"], [tmp_path], tmp_path)
    assert command[0] == "unshare"
    marks = command.index("--")
    assert command[marks - 1] == str(tmp_path)
    assert f"--chdir={tmp_path}" in command[marks:] and command[-2:] == ["swift", "test"]
    assert f"MOBILESAM_CACHE={os.environ['MOBILESAM_CACHE']}" in command
    assert not any("SECRET" in part for part in command)
    assert "make swift-test" in swift.missing()


def test_names_that_are_none_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pascal"]) == 2
    assert main([]) == 2
    said = capsys.readouterr().err
    assert "pascal" in said and ", ".join(EMULATORS) in said


def test_what_cannot_be_had_ends_with_its_sentence(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kotlin"]) == 1
    assert "npm error 404" in capsys.readouterr().err
