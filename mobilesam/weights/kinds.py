"""What a file is that is no checkpoint, told by its first bytes, so that an error can say it."""

import re
import zipfile
from pathlib import Path

HEAD = 512
"""Bytes from the start of a file that :func:`kind_of` looks at."""

_CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors", ".pkl")

# Tried in order. Flatbuffers have their kind in bytes 4 to 7. Models of Core ML and ONNX begin with
# a version (protobuf field 1); then comes a description, or the name of the library that made it.
_SIGNS: tuple[tuple[bytes, str], ...] = (
    (
        rb"version https://git-lfs",
        "a Git LFS pointer, which stands for it (`git lfs pull` gets it)",
    ),
    (rb".{4}E[TH]\d\d", "an ExecuTorch program (.pte)"),
    (rb".{4}TFL\d", "a TensorFlow Lite model (.tflite)"),
    (rb"\x08[\x01-\x14]\x12([\x80-\xff]{1,2}.|[\0-\x7f])\n", "a Core ML model (.mlmodel)"),
    (rb"\x08[\x01-\x14](\x12[\x01-\x7f][ -~]|[\x1a\x22\x3a])", "an ONNX model (.onnx)"),
    (rb"\s*(\xef\xbb\xbf)?\s*<(!doctype\s+html|html|head|body|!--)", "a web page (HTML)"),
    (rb"\s*(\xef\xbb\xbf)?\s*<(\?xml|!doctype|\w+[\s>/])", "an XML document"),
    (rb"GGUF|ggml|lmgg", "a GGUF model"),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras)"),
    (rb"\x93NUMPY", "a NumPy array (.npy)"),
    (rb"\x89PNG\r\n\x1a\n", "a PNG image"),
    (rb"\xff\xd8\xff", "a JPEG image"),
    (rb".{4}ftyp", "a photo or film (HEIC, AVIF, MP4)"),
    (rb"GIF8|BM.{4}\0\0\0\0|RIFF.{4}WEBP|II\*\0|MM\0\*", "an image"),
    (rb"%PDF", "a PDF document"),
    (rb"\x1f\x8b", "a gzip archive; unpack it first"),
    (rb"BZh|\xfd7zXZ\0|7z\xbc\xaf|Rar!|\x28\xb5\x2f\xfd", "a compressed archive; unpack it first"),
    (rb".{257}ustar", "a tar archive; unpack it first"),
    (rb"\s*[\[{]\s*([\"\]}\[{]|-?\d)", "a JSON file"),
)


def kind_of(head: bytes) -> str | None:
    """What a file's first bytes say that it is, in words; None where they say nothing."""
    for sign, kind in _SIGNS:
        if re.match(sign, head, re.DOTALL | re.IGNORECASE):
            return kind
    return "a text file" if head and _is_text(head) else None


def kind_of_zip(archive: zipfile.ZipFile) -> str | None:
    """What a zip file is; None for one that ``torch.save`` wrote."""
    names = [name for name in archive.namelist() if not name.endswith("/")]
    ends = {name.partition("/")[2] or name for name in names}
    inside = [name for name in names if Path(name).suffix.lower() in _CHECKPOINTS]
    if "constants.pkl" in ends:
        return "a TorchScript program (save the model's state_dict() instead)"
    if ends & {"archive_format", "models/model.json", "serialized_exported_program.json"}:
        return "a program of torch.export (.pt2; save the model's state_dict() instead)"
    if "data.pkl" in ends:
        return None
    if any(".mlpackage/" in name or name.endswith("com.apple.CoreML/model.mlmodel")
           for name in names):  # fmt: skip
        return "a zip file with a Core ML package (.mlpackage) in it"
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of NumPy arrays (.npz)"
    if inside:
        return f"a zip file with '{inside[0]}' in it; unpack it first"
    return "a zip file"


def kind_of_folder(folder: Path) -> str:
    """What a folder is, and what to give in its place where something in it would do."""
    if folder.suffix == ".mlpackage" or (folder / "Data" / "com.apple.CoreML").is_dir():
        return "a Core ML package (.mlpackage, a directory)"
    if folder.suffix == ".mlmodelc":
        return "a compiled Core ML model (.mlmodelc, a directory)"
    if (folder / "saved_model.pb").is_file():
        return "a TensorFlow SavedModel (a directory)"
    if (folder / ".metadata").is_file() and any(folder.glob("*.distcp")):
        return "a distributed checkpoint of PyTorch (a directory; dcp_to_torch_save makes a file)"
    if (folder / "manifest.json").is_file() and any(folder.glob("encoder.*")):
        return "an exported bundle (a directory)"
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in _CHECKPOINTS and p.is_file())
    hint = f", with '{found[0].name}' in it" if found else ""
    return f"a directory{hint}"


def _is_text(head: bytes) -> bool:
    try:
        text = head[:-4].decode("utf-8") if len(head) == HEAD else head.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)
