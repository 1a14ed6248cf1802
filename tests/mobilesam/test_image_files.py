"""Lists of names, and the images of a folder."""

from pathlib import Path

import pytest
from PIL import Image

from mobilesam.data.image_files import image_files, named, read_names
from mobilesam.errors import InputError


def test_names_are_read_without_comments_and_once(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("# held out\nb.png\n\n a.png  # twice\nb.png\n")
    assert read_names(path) == ["b.png", "a.png"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_list_that_is_not_text(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"the list of names .*names\.txt cannot be read"):
        read_names(path)


def test_files_are_named_in_full_or_by_their_last_part(tmp_path: Path) -> None:
    files = ["one/a.png", "two/a.png", "b.png"]
    assert named(files, ["one/a.png"], tmp_path) == {"one/a.png"}
    assert named(files, ["a.png", "b.png"], tmp_path) == set(files)
    with pytest.raises(InputError, match=r"names 'c\.png', which is not among the images"):
        named(files, ["b.png", "c.png"], tmp_path)


def test_images_are_found_by_their_extension(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b.JPG", "a.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "._a.png").write_bytes(b"what macOS keeps beside a file")
    (tmp_path / ".DS_Store").touch()
    with caplog.at_level("WARNING"):
        assert [path.name for path in image_files(tmp_path)] == ["a.png", "b.JPG"]
    assert "left out 3 of 5 files" in caplog.text
    assert "._a.png, folder.png, notes.txt" in caplog.text
    with pytest.raises(InputError, match="has no image files in it"):
        image_files(tmp_path / "folder.png")
    with pytest.raises(InputError, match="is not a folder of images"):
        image_files(tmp_path / "gone")


def test_a_link_to_a_photo_that_is_gone_is_one_of_the_photos(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    assert [path.name for path in image_files(tmp_path)] == ["gone.jpg"]
