"""`mobilesam bisect` refuses in one sentence what it cannot look into."""

from collections.abc import Callable
from pathlib import Path

import pytest

REFUSED = {
    "no prompt": ((), "no prompt was given"),
    "half a point": (("--point", "1"), "--point takes numbers as x,y"),
    "labels": (("--point", "1,1", "--label", "1,0"), "1 point(s) but 2 label(s)"),
    "outside": (("--point", "500,1"), "outside"),
    "thresholds": (("--point", "1,1", "--thresholds", "none.toml"), "no thresholds file"),
    "target": (("--point", "1,1"), "target 'torchscript' cannot be read, only of coreml"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(refused: Callable[..., str], bundle: Path, photo: Path, what: str) -> None:
    options, said = REFUSED[what]
    assert said in refused("bisect", bundle, "--image", photo, *options)


def test_no_bundle_no_photo(refused: Callable[..., str], bundle: Path, photo: Path) -> None:
    assert "is not a folder" in refused("bisect", "gone", "--image", photo, "--point", "1,1")
    assert "gone.png" in refused("bisect", bundle, "--image", "gone.png", "--point", "1,1")
