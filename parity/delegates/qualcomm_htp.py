"""Qualcomm's HTP: files are compiled for one chip by Qualcomm's own libraries.

TFLite files by LiteRT's compiler, in a process of its own: first every op is validated, then the
graph is compiled, and either may refuse. ONNX files by ONNX Runtime's provider.

Source: ai-edge-litert 2.3.0, ``tools/apply_plugin_main --helpfull``.
"""

import importlib.util
import os
import re
import subprocess
import tempfile
from collections import Counter
from pathlib import Path

from mobilesam.bundle.manifest import FileRecord
from mobilesam.emulators import htp
from mobilesam.errors import MissingDependencyError
from mobilesam.runtimes.checked import native_banners_silenced, version_of
from parity.delegates.records import Found, Outside
from parity.delegates.tflite_graph import read_ops

_PARTITIONED = re.compile(
    r"Partitioned subgraph<0>, selected (\d+) ops, from a total of (\d+) ops\. "
    r"resulted in (\d+) partitions"
)
_INVALID = re.compile(r"QNN op validation failed: '[^']*' \(type=(\w+)\)(.{0,900})", re.DOTALL)
_TENSOR = re.compile(r"\[\d+\] name=\"[^\"]*\" dtype=QNN_DATATYPE_(\w+) dims=\S+ (per-channel)?")
_ERROR = re.compile(r"<E> ([^\n]+)")
_NOISE = (
    *("unexpected GraphHtpSettings", "Supported I/O", "Requested I/O", "Please refer"),
    *("QnnBackend_validateOpConfig", "Unsupported input/output", "Failed to"),
)
"""Beginnings of lines that do not say what is wrong."""

# At the compiler's own level, O3, QNN 2.51 crashes on the int8 encoder.
OPTIMIZATION = "O2"


def ask(path: Path, record: FileRecord) -> Found:
    """What stays outside the HTP.

    Raises:
        MissingDependencyError: Qualcomm's libraries are not here; the message says how to get them.
    """
    lacking = htp.missing()
    if lacking:
        raise MissingDependencyError(lacking)
    return _onnx(path) if record.runtime == "onnxruntime" else compiled(path)


def _onnx(path: Path) -> Found:
    from mobilesam.runtimes.qnn_htp import assignment

    with native_banners_silenced():
        given = assignment(path)
    outside = Counter(
        {(op, "Qualcomm's provider does not take it"): n for op, n in given.outside.items()}
    )
    how = f"compiled for {htp.CHIP.name} by onnxruntime-qnn {version_of('onnxruntime-qnn')}"
    return Found.of(how, given.total, outside, partitions=given.partitions)


def compiled(path: Path) -> Found:
    """What LiteRT's compiler makes of a TFLite file."""
    how = f"compiled for {htp.CHIP.name} by ai-edge-litert {version_of('ai-edge-litert')}"
    total = len(read_ops(path))
    with tempfile.TemporaryDirectory(prefix="mobilesam-htp-") as folder:
        status, said = _compile(path, Path(folder))
    outside = _outside(said)
    partitioned = _PARTITIONED.search(said)
    if status == 0 and partitioned:
        return Found.of(how, total, outside, partitions=int(partitioned[3]))
    listed = tuple(Outside(op, count, why) for (op, why), count in outside.most_common())
    return Found("refused", how, total, None, listed, _last_error(status, said))


def _compile(path: Path, folder: Path) -> tuple[int, str]:
    """The exit status of LiteRT's compiler, and what it said."""
    package = importlib.util.find_spec("ai_edge_litert")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'ai_edge_litert'", name="ai_edge_litert")
    root = Path(package.submodule_search_locations[0])
    compiler = root / "tools" / "apply_plugin_main"
    plugin = root / "vendors" / "qualcomm" / "compiler"
    if not compiler.is_file() or not plugin.is_dir():
        raise MissingDependencyError(
            "this ai-edge-litert has no compiler for Qualcomm's HTP: install 2.3 on Linux on x86-64"
        )
    # It asks for a library of Qualcomm's low-power AI core that the wheel does not have, and takes
    # nothing from it: another one under its name will do.
    (folder / "libQnnLpai.so").symlink_to(htp.backend().with_name("libQnnSystem.so"))
    done = subprocess.run(
        [
            str(compiler),
            "--cmd=apply",
            f"--model={path.absolute()}",
            f"--o={folder / 'compiled.tflite'}",
            "--soc_manufacturer=Qualcomm",
            f"--soc_model={htp.CHIP.name}",
            f"--libs={plugin}",
            f"--qualcomm_optimization_level={OPTIMIZATION}",
        ],
        env=os.environ | {"LD_LIBRARY_PATH": f"{htp.backend().parent}:{folder}:{root}"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def _outside(said: str) -> Counter[tuple[str, str]]:
    """Ops that did not pass validation, by QNN's name and the types of their tensors."""
    found: Counter[tuple[str, str]] = Counter()
    for kind, rest in _INVALID.findall(said):
        # Each line of the block is one tensor; what other threads print may lie between.
        types = [f"{d}{' per channel' if c else ''}" for d, c in _TENSOR.findall(rest)]
        found[kind, f"the HTP does not take {', '.join(types)} together"] += 1
    return found


def _last_error(status: int, said: str) -> str:
    if status < 0:
        return f"Qualcomm's compiler crashed (signal {-status})"
    # What other threads print may cut into a line, which then tells nothing.
    lines = [line.strip() for line in _ERROR.findall(said) if "ERROR" not in line]
    errors = [line for line in lines if not line.startswith(_NOISE)]
    return errors[0] if errors else f"Qualcomm's compiler failed with status {status}"
