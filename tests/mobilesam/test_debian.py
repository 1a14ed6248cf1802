"""Debian packages in a folder: what apt is asked and told, with an apt-get that only pretends."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilesam.emulators import debian
from mobilesam.errors import InputError, MissingDependencyError

BACKPORTS = "bookworm-backports"

APT_GET = r"""#!/bin/sh
echo "$@" >> "$FAKE/asked"
cp "$APT_CONFIG" "$FAKE/apt.conf"
case "$*" in *"$(cat "$FAKE/fails" 2>/dev/null || echo nothing)"*)
    echo "W: a warning" >&2; cat "$FAKE/says" >&2; exit 100;;
esac
archives=$(sed -n 's/Dir::Cache::archives "\(.*\)";/\1/p' "$APT_CONFIG")
case "$*" in
*--simulate*)
    echo "Inst libc6 (2.36-9 Debian:12.15/oldstable [amd64]) []"
    echo "Inst driver (1:25.0.7-2~bpo12+1 Debian Backports:oldstable-backports [amd64])"
    echo "Conf driver (1:25.0.7-2~bpo12+1 Debian Backports:oldstable-backports [amd64])";;
*--download-only*)
    touch "$archives/libc6_2.36-9_amd64.deb" "$archives/driver_1%3a25.0.7-2~bpo12+1_amd64.deb";;
esac
"""
APT_CONFIG = r"""#!/bin/sh
echo 'Acquire::http::Proxy "http://proxy:3128";'
echo 'Acquire::IndexTargets::deb::DEP-11::MetaKey "more";'
"""
DPKG_DEB = r"""#!/bin/sh
[ -e "$2" ] && [ ! -e "$FAKE/damaged" ] || { echo "dpkg-deb: error: damaged" >&2; exit 2; }
mkdir -p "$3/usr"; touch "$3/usr/$(basename "$2" | cut -d_ -f1)"
"""


class Fake:
    """Programs that stand in for apt's, and what they were asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.unpacked = folder / "deep" / "unpacked"

    def unpack(
        self, leave_out: tuple[str, ...] = (), said: Callable[[str], None] = lambda now: None
    ) -> dict[str, str]:
        wanted = {"driver": BACKPORTS, "loader": "bookworm"}
        return debian.unpack(
            wanted, self.unpacked, architecture="amd64", leave_out=leave_out, say=said
        )

    def fail(self, when: str, says: str) -> None:
        (self.folder / "fails").write_text(when)
        (self.folder / "says").write_text(says)

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("apt-get", APT_GET), ("apt-config", APT_CONFIG), ("dpkg-deb", DPKG_DEB)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    keys = tmp_path / "keys.gpg"
    keys.touch()
    monkeypatch.setattr(debian, "KEYRING", keys)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("MOBILESAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(debian.MIRROR_VARIABLE, raising=False)
    return Fake(tmp_path)


def test_packages_and_what_they_depend_on_are_unpacked(fake: Fake) -> None:
    said: list[str] = []
    versions = fake.unpack(said=said.append)
    assert versions == {"libc6": "2.36-9", "driver": "1:25.0.7-2~bpo12+1"}
    assert sorted(path.name for path in (fake.unpacked / "usr").iterdir()) == ["driver", "libc6"]
    names = f"driver/{BACKPORTS} loader/bookworm"
    assert fake.asked() == [
        "-q update",
        f"-q install --simulate {names}",
        f"-q install --download-only --yes {names}",
    ]
    assert [text.split(":")[-1].strip() for text in said][1:] == ["download", "unpack"]
    assert not list(fake.folder.rglob("*.deb")), "what is unpacked takes no more room"


def test_what_is_left_out_is_not_unpacked(fake: Fake) -> None:
    assert set(fake.unpack(leave_out=("libc6",))) == {"driver"}
    assert [path.name for path in (fake.unpacked / "usr").iterdir()] == ["driver"]


def test_nothing_of_the_machine_is_touched_but_its_proxy_is_used(fake: Fake) -> None:
    fake.unpack()
    written = (fake.folder / "apt.conf").read_text()
    settings = dict(line.split(" ", 1) for line in written.splitlines() if line[0] != "#")
    assert settings["Acquire::http::Proxy"] == '"http://proxy:3128";'
    assert "IndexTargets" not in written
    for name in ("Dir::State", "Dir::State::status", "Dir::Cache", "Dir::Etc::SourceList"):
        assert settings[name].startswith(f'"{fake.folder}/cache/'), name
    for name in ("Dir::Etc::Parts", "Dir::Etc::Main", "Dir::Etc::SourceParts"):
        assert settings[name] == '"/dev/null";', name
    state = fake.folder / "cache" / "emulators" / "debian" / "amd64"
    assert (state / "status").read_bytes() == b""
    sources = (state / "sources.list").read_text().splitlines()
    assert len(sources) == 2 and all(f"[signed-by={debian.KEYRING}]" in line for line in sources)
    assert BACKPORTS in (state / "preferences").read_text()


def test_another_mirror_can_be_named(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(debian.MIRROR_VARIABLE, "http://mirror/debian")
    fake.unpack()
    (sources,) = fake.folder.rglob("sources.list")
    assert "] http://mirror/debian bookworm main" in sources.read_text()


def test_backports_are_used_only_where_they_are_asked_for(fake: Fake) -> None:
    debian.unpack({"driver": "bookworm"}, fake.unpacked, architecture="arm64")
    (preferences,) = fake.folder.rglob("preferences")
    assert preferences.read_text() == ""


def test_debian_13_is_asked_alone(fake: Fake) -> None:
    debian.unpack({"driver": debian.NEWER}, fake.unpacked, architecture="amd64")
    (sources,) = fake.folder.rglob("sources.list")
    (line,) = sources.read_text().splitlines()
    assert line.endswith(f" {debian.NEWER} main")
    assert f"driver/{debian.NEWER}" in fake.asked()[1]


def test_packages_of_two_versions_of_debian_are_not_mixed(fake: Fake) -> None:
    mixed = {"driver": debian.NEWER, "loader": "bookworm"}
    with pytest.raises(InputError, match="cannot share a folder"):
        debian.unpack(mixed, fake.unpacked, architecture="amd64")
    assert not (fake.folder / "asked").exists()


def test_what_is_there_is_not_fetched_again_and_another_request_replaces_it(fake: Fake) -> None:
    first = fake.unpack()
    (fake.folder / "asked").unlink()
    assert fake.unpack() == first
    assert not (fake.folder / "asked").exists()
    assert set(fake.unpack(leave_out=("libc6",))) == {"driver"}
    assert not (fake.unpacked / "usr" / "libc6").exists()


def test_a_folder_of_another_request_or_without_a_record_is_not_it(fake: Fake) -> None:
    wanted = {"driver": BACKPORTS, "loader": "bookworm"}
    assert not debian.is_unpacked(wanted, fake.unpacked, architecture="amd64")
    fake.unpack()
    assert debian.is_unpacked(wanted, fake.unpacked, architecture="amd64")
    assert not debian.is_unpacked(wanted, fake.unpacked, architecture="arm64")
    assert not debian.is_unpacked({"driver": "bookworm"}, fake.unpacked, architecture="amd64")
    for broken in ("", "{", "[]", json.dumps({"packages": wanted})):
        (fake.unpacked / debian.RECORD).write_text(broken)
        assert not debian.is_unpacked(wanted, fake.unpacked, architecture="amd64")


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("update", "E: Failed to fetch http://mirror  Could not resolve 'mirror'\nE: Some failed."),
        ("--simulate", "E: Unable to locate package loader"),
        ("--download-only", "E: You don't have enough free space"),
    ],
)
def test_what_apt_cannot_do_is_one_sentence_and_leaves_nothing(
    fake: Fake, when: str, says: str
) -> None:
    fake.fail(when, says)
    first = " ".join(says.splitlines()[0].removeprefix("E: ").split())
    with pytest.raises(MissingDependencyError, match="cannot be had") as raised:
        fake.unpack()
    assert f"('{first}'): check the network, or set MOBILESAM_DEBIAN" in str(raised.value)
    assert not fake.unpacked.exists()


def test_a_damaged_package_leaves_nothing_and_is_fetched_again(fake: Fake) -> None:
    (fake.folder / "damaged").touch()
    with pytest.raises(MissingDependencyError, match=r"'libc6' cannot be unpacked .*damaged"):
        fake.unpack()
    assert not fake.unpacked.exists() and not list(fake.unpacked.parent.glob(".*"))
    assert not list(fake.folder.rglob("libc6_*.deb")) and list(fake.folder.rglob("driver_*.deb"))
    (fake.folder / "damaged").unlink()
    (fake.unpacked.parent / ".unpacked.killed").mkdir()
    assert set(fake.unpack()) == {"libc6", "driver"}
    assert not list(fake.unpacked.parent.glob(".*")), "what a killed process left is gone"


def test_a_machine_without_apt_or_debians_keys_is_told_what_to_do(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(debian, "KEYRING", tmp_path / "nowhere")
    with pytest.raises(MissingDependencyError, match="apt-get install debian-archive-keyring"):
        fake.unpack()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="fetched with apt-get, which this machine"):
        fake.unpack()


def test_a_folder_that_cannot_be_written_is_named(fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file")
    with pytest.raises(MissingDependencyError, match=r"cannot be unpacked into '.*unpacked' \("):
        fake.unpack()


def test_an_unknown_suite_is_refused(fake: Fake) -> None:
    with pytest.raises(InputError, match="unknown suite 'sid' of Debian, known: bookworm, "):
        debian.unpack({"driver": "sid"}, fake.unpacked, architecture="amd64")
