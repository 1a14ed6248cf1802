"""The commonest errors of apps, planted into a copy of the app's code, which must then fail."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Error:
    """One change.

    Attributes:
        file: relative to the folder of the sources.
        right: what stands there, once.
        wrong: what an app may have instead.
        fails: name of the test that must fail by it.
    """

    file: str
    right: str
    wrong: str
    fails: str

    def plant(self, sources: Path) -> None:
        """Change the file in a copy of the sources.

        Raises:
            AssertionError: what is to be changed is not there just once.
        """
        path = sources / self.file
        text = path.read_text("utf-8")
        assert text.count(self.right) == 1, f"{self.file} must have '{self.right}' once"
        path.write_text(text.replace(self.right, self.wrong), "utf-8")


def plant_all(errors: Mapping[str, Error], sources: Path, out: Path) -> dict[str, Path]:
    """A changed copy of the sources for each error, by its name, in folders below ``out``."""
    copies = {}
    for name, error in errors.items():
        copies[name] = out / name.replace(" ", "-")
        shutil.copytree(sources, copies[name])
        error.plant(copies[name])
    return copies
