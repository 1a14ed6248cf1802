"""The apps' code in the documents is that of their files, which the other tests compile."""

import re
import textwrap
from pathlib import Path

import pytest

APPS = Path("apps")
SUFFIXES = {"kotlin": ".kt", "java": ".java", "swift": ".swift"}
DOCUMENTS = ("docs/android.md", "docs/ios.md", "apps/apple/README.md", "apps/android/README.md")


def _blocks(path: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block in a language of the apps."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", path.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [(language, text) for language, text in found if language in SUFFIXES]


def _sources(repository: Path, language: str) -> str:
    """All files of a language, each line without its indentation."""
    files = sorted((repository / APPS).rglob(f"*{SUFFIXES[language]}"))
    return "\n".join(_unindented(path.read_text("utf-8")) for path in files)


def _unindented(text: str) -> str:
    return "\n".join(line.strip() for line in textwrap.dedent(text).strip().splitlines())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_code_is_that_of_a_file(document: str, repository: Path) -> None:
    for language, text in _blocks(repository / document):
        for part in re.split(r"\n\.\.\.\n", text):
            assert _unindented(part) in _sources(repository, language), f"{document}:\n{part}"


def test_each_language_is_shown(repository: Path) -> None:
    shown = {language for name in DOCUMENTS for language, _ in _blocks(repository / name)}
    assert shown == SUFFIXES.keys()


@pytest.mark.parametrize("folder", ["apps/android/sample", "apps/apple/Sample"])
def test_what_is_not_built_says_so(folder: str, repository: Path) -> None:
    files = [p for p in (repository / folder).rglob("*") if p.suffix in SUFFIXES.values()]
    assert files
    for path in files:
        assert "Not built here" in "".join(path.read_text("utf-8").splitlines(True)[:2]), path
