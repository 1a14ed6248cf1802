#!/usr/bin/env python3
"""Answer every case of a replay folder on this machine; what is answered is judged elsewhere.

Every replay folder has a copy of this file. It needs Python 3.9 or newer, numpy and the runtime of
the bundles: coremltools on a Mac; onnxruntime, ai-edge-litert (or tflite-runtime, its old name),
torch, or executorch with torch anywhere. Pillow is imported only for a Core ML package that takes
an image. Nothing of mobilesam-export is needed.

Each bundle on each choice of compute units becomes ``results/<name>/``: raw outputs as npz, and
``result.json``. Encoder and decoder each run in a process of their own: the memory reported is
theirs, and a runtime that crashes is one sentence in a result. On an emulated CPU nothing is timed.

Exit status 0 when all was answered, 1 when a runtime failed, 2 when it cannot be run as asked.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

SCHEMA_VERSION = "1.1"
INDEX, RESULTS, RESULT = "replay.json", "results", "result.json"
COMPONENTS, STAGES = ("encoder", "decoder"), ("decoder", "end_to_end")
COMPUTE_UNITS = ("CPU_ONLY", "CPU_AND_GPU", "CPU_AND_NE", "ALL")
MIN_RUNS, MAX_RUNS, BUDGET_S = 3, 50, 3.0
ONE_COMPONENT = "--one-component"
ANSWERED = "answered "

Arrays = dict[str, np.ndarray]
Job = dict[str, Any]
Run = Callable[[Arrays], Arrays]


class ReplayError(Exception):
    """Why something cannot be run, in one sentence."""


def open_onnxruntime(path: Path, job: Job) -> Run:
    """An inference session on the CPU with every graph optimisation."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3  # errors only
    if job["threads"]:
        options.intra_op_num_threads = job["threads"]
        options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda arrays: dict(zip(names, session.run(names, arrays)))


def open_litert(path: Path, job: Job) -> Run:
    """The interpreter with its default delegate, called by signature name."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=job["threads"])
    called = interpreter.get_signature_runner(job["signature"]["name"])
    return lambda arrays: dict(called(**arrays))


def open_coreml(path: Path, job: Job) -> Run:
    """``MLModel`` on the job's compute units; of a multifunction package, the job's function."""
    import coremltools as ct

    options: dict[str, Any] = {"compute_units": getattr(ct.ComputeUnit, job["compute_units"])}
    if job["function"]:
        options["function_name"] = job["function"]
    model = ct.models.MLModel(str(path), **options)
    pictures = picture_inputs(model.get_spec().description, job["function"])

    def run(arrays: Arrays) -> Arrays:
        given = {k: as_picture(v) if k in pictures else v for k, v in arrays.items()}
        return dict(model.predict(given))

    return run


def open_lite_interpreter(path: Path, job: Job) -> Run:
    """The bytecode interpreter of PyTorch Mobile; outputs are named in the manifest's order."""
    import torch
    from torch.jit.mobile import _load_for_lite_interpreter

    if job["threads"]:
        torch.set_num_threads(job["threads"])
    module = _load_for_lite_interpreter(str(path), map_location="cpu")
    names = [spec["name"] for spec in job["signature"]["outputs"]]

    def run(arrays: Arrays) -> Arrays:
        with torch.inference_mode():
            found = module(*(torch.from_numpy(array) for array in arrays.values()))
        found = found if isinstance(found, (tuple, list)) else (found,)
        return {name: value.numpy() for name, value in zip(names, found)}

    return run


def open_executorch(path: Path, job: Job) -> Run:
    """The portable runtime with XNNPACK, by the module below its Python package.

    The package itself imports what converts models. Its name has changed between
    1.1 and 1.5.
    """
    import torch  # loads the libraries that the module is linked to

    found = importlib.util.find_spec("executorch.extension.pybindings._C")
    name = "_C" if found else "_portable_lib"
    library: Any = importlib.import_module(f"executorch.extension.pybindings.{name}")
    if job["threads"] and hasattr(library, "_unsafe_reset_threadpool"):
        library._unsafe_reset_threadpool(job["threads"])
    program = library._load_for_executorch(str(path))
    signature = job["signature"]
    names = [spec["name"] for spec in signature["outputs"]]

    def run(arrays: Arrays) -> Arrays:
        given = tuple(torch.from_numpy(array) for array in arrays.values())
        answers = program.run_method(signature["name"], given)
        return {name: value.numpy() for name, value in zip(names, answers)}

    return run


def picture_inputs(description: Any, function: str) -> set[str]:
    """Names of the inputs that a package wants as images (coremltools' ``ImageType``)."""
    own = [f for f in description.functions if f.name == function] if function else [description]
    return {i.name for d in own for i in d.input if i.type.WhichOneof("Type") == "imageType"}


def as_picture(array: np.ndarray) -> Any:
    """Values 0 to 255, [1, 3, H, W], as the RGB image that ``predict`` takes."""
    try:
        from PIL import Image
    except ImportError:
        raise ReplayError("this package takes an image: pip install pillow") from None
    return Image.fromarray(array[0].transpose(1, 2, 0).astype(np.uint8))


class Runtime(NamedTuple):
    """The modules that have it, the engine's name in reports, and how a file is opened.

    ``beside`` names another module that it is loaded with.
    """

    modules: tuple[str, ...]
    title: str
    open: Callable[[Path, Job], Run]
    beside: str = ""

    @property
    def module(self) -> str:
        """The first of its modules that is installed, or else the first."""
        found = (name for name in self.modules if importlib.util.find_spec(name))
        return next(found, self.modules[0])

    @property
    def package(self) -> str:
        """What pip installs."""
        return self.module.replace("_", "-")


RUNTIMES = {
    "coreml": Runtime(("coremltools",), "Core ML (coremltools {version}, {units})", open_coreml),
    "onnxruntime": Runtime(("onnxruntime",), "ONNX Runtime {version} (CPU)", open_onnxruntime),
    "litert": Runtime(
        ("ai_edge_litert", "tflite_runtime"), "LiteRT {version} (XNNPACK)", open_litert
    ),
    "lite_interpreter": Runtime(
        ("torch",), "lite interpreter (PyTorch {version})", open_lite_interpreter
    ),
    "executorch": Runtime(
        ("executorch",), "ExecuTorch {version} (XNNPACK)", open_executorch, beside="torch"
    ),
}


def why_not(name: str) -> str:
    """Why this machine cannot run a runtime; empty if it can."""
    runtime = RUNTIMES[name]
    if name == "coreml" and sys.platform != "darwin":
        return "Core ML predicts on macOS only: copy this folder to a Mac and run it there"
    for module in filter(None, (runtime.module, runtime.beside)):
        if importlib.util.find_spec(module) is None:
            package = module.replace("_", "-")
            return f"{package} is not installed here: pip install {package}"
    return ""


def run_component(job: Job) -> dict[str, Any]:
    """Load a component alone in this process, time it, and answer every photo or case.

    Answers go into npz files in ``job["out"]``; each tenth of them is said when it is done. Returns
    fields of ``parity.schema.Measurement``. On an emulated CPU time and memory say nothing of a
    device: there is no run but those that answer.
    """
    runtime = RUNTIMES[job["runtime"]]
    for module in filter(None, (runtime.beside, runtime.module)):
        importlib.import_module(module)
    baseline = peak_memory_mb()
    begun = time.perf_counter()
    run = checked(runtime.open(Path(job["file"]), job), job["signature"])
    loaded = time.perf_counter() - begun
    _, first = next(asked(job, 0))
    emulated = bool(job["emulated_cpu"])
    seconds = [] if emulated else timed(lambda: run(first), job["budget"])
    peak = peak_memory_mb()
    encodes = job["component"] == "encoder"
    parts = [job["images"]] if encodes else [*job["cases"], *job["together"]]
    total = sum(map(len, parts))
    done = 0
    for photo in range(len(job["images"])):
        answers: Job = {}
        for prefix, inputs in asked(job, photo):
            started = time.perf_counter()
            answers.update({prefix + name: value for name, value in run(inputs).items()})
            if emulated:
                seconds.append(time.perf_counter() - started)
            done += 1
            if done * 10 // total > (done - 1) * 10 // total:
                print(f"\n{ANSWERED}{done * 100 // total}%", flush=True)
        np.savez(Path(job["out"]) / f"{job['component']}-{photo}.npz", **answers)
    median, p90 = (float(value) for value in np.percentile(seconds, (50, 90)))
    return {
        "component": job["component"],
        "load_s": loaded,
        "timing": {"median_s": median, "p90_s": p90, "runs": len(seconds)},
        "peak_memory_mb": peak,
        "baseline_memory_mb": baseline,
        "threads": job["threads"] or os.cpu_count() or 1,
        "representative": not emulated,
    }


def asked(job: Job, photo: int) -> Iterator[tuple[str, Arrays]]:
    """What a component is asked about a photo: a prefix for the answer's names, and the inputs.

    The encoder once; the decoder every case with the reference's embedding, and those of
    ``job["together"]`` also with the one that this machine's encoder made (``<case>.decoder.`` and
    ``<case>.end_to_end.``).
    """
    folder = Path(job["folder"])
    if job["component"] == "encoder":
        with np.load(folder / job["images"][photo]) as image:
            yield "", dict(image)
        return
    with np.load(folder / job["answers"][photo]) as reference:
        given = reference["image_embeddings"]
    with np.load(Path(job["out"]) / f"encoder-{photo}.npz") as answered:
        own = answered["image_embeddings"]
    with np.load(folder / job["prompts"][photo]) as stored:
        names = [spec["name"] for spec in job["signature"]["inputs"][1:]]
        for case in job["cases"][photo]:
            prompt = {name: stored[f"{case}.{name}"] for name in names}
            stages = STAGES if case in job["together"][photo] else STAGES[:1]
            for stage, embedding in zip(stages, (given, own)):
                yield f"{case}.{stage}.", {"image_embeddings": embedding, **prompt}


def checked(run: Run, signature: Job) -> Run:
    """The same with inputs and outputs as the manifest has them, in its order.

    An output of another dtype than the manifest says is an error, not cast.
    """
    inputs = {spec["name"]: spec["dtype"] for spec in signature["inputs"]}
    outputs = [spec["name"] for spec in signature["outputs"]]

    def run_checked(given: Arrays) -> Arrays:
        found = run({name: np.ascontiguousarray(given[name], inputs[name]) for name in inputs})
        missing = [name for name in outputs if name not in found]
        if missing:
            raise ReplayError(f"there is no output '{missing[0]}', only {', '.join(found)}")
        for spec in signature["outputs"]:
            dtype = np.asarray(found[spec["name"]]).dtype.name
            if dtype != spec["dtype"]:
                raise ReplayError(f"the output '{spec['name']}' is {dtype}, not {spec['dtype']}")
        # Copies: some runtimes write their next answer to the same memory.
        return {name: np.array(found[name], np.float32) for name in outputs}

    return run_checked


def timed(run: Callable[[], object], budget: float) -> list[float]:
    """Seconds of each run after a warm-up, for ``budget`` seconds but at least MIN_RUNS runs."""
    run()
    seconds: list[float] = []
    while len(seconds) < MIN_RUNS or len(seconds) < MAX_RUNS and sum(seconds) < budget:
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return seconds


def peak_memory_mb() -> float | None:
    """Most memory this process ever had resident, in MB (10^6 bytes); None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used * 1024 / 1e6


def replay(folder: Path, bundles: list[str], units: list[str], given: Job) -> bool:
    """Run bundles one after the other; whether all were answered.

    ``given`` has what each component's process is told: ``threads``, the timing's ``budget``, and
    the ``emulated_cpu``.

    Raises :class:`ReplayError` when the folder was altered, or what was asked for cannot be run.
    """
    index = read_index(folder)
    names = [bundle["name"] for bundle in index["bundles"]]
    unknown = ", ".join(name for name in bundles if name not in names)
    if unknown:
        raise ReplayError(f"this folder has no bundle '{unknown}', only {', '.join(names)}")
    jobs, skipped = [], []
    for bundle in index["bundles"]:
        if bundles and bundle["name"] not in bundles:
            continue
        for runtime in bundle["runtimes"]:
            reason = why_not(runtime)
            if reason:
                skipped.append(f"{bundle['name']}: {reason}")
                continue
            for unit in units if runtime == "coreml" else [None]:
                jobs.append((bundle, {"runtime": runtime, "compute_units": unit}))
    if skipped and (bundles or not jobs):
        raise ReplayError("; ".join(skipped))
    for sentence in skipped:
        print(f"skipped {sentence}", flush=True)
    return all([run_bundle(folder, index, bundle, choice, given) for bundle, choice in jobs])


def run_bundle(folder: Path, index: Job, bundle: Job, choice: Job, given: Job) -> bool:
    """Run a bundle on one runtime into a folder of results; whether it could be run."""
    units, cpu = choice["compute_units"], given["emulated_cpu"]
    name = ".".join(part for part in (bundle["name"], choice["runtime"], units, cpu) if part)
    final = folder / RESULTS / name
    partial, old = final.with_name(f".{name}.partial"), final.with_name(f".{name}.old")
    shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
    partial.mkdir(parents=True)
    kind = RUNTIMES[choice["runtime"]]
    result = {
        **{"schema_version": SCHEMA_VERSION, "pack": sha256(folder / INDEX)},
        **{"bundle": bundle["name"], **choice, "threads": given["threads"], "emulated_cpu": cpu},
        "engine": kind.title.format(version=metadata.version(kind.package), units=units),
        "machine": machine(cpu),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "error": "",
        "measurements": [],
    }
    try:
        for component in COMPONENTS:
            print(f"{name}: {component} ...", end=" ", flush=True)
            job = component_job(folder, index, bundle, component, choice["runtime"])
            taken = in_own_process({**job, **choice, **given, "out": str(partial)})
            result["measurements"].append(taken)
            timing = taken["timing"]
            times = f"median {timing['median_s'] * 1000:.1f} ms of {timing['runs']} runs"
            print("done (emulated)" if cpu else times, flush=True)
    except ReplayError as error:
        result["error"] = str(error)
        print(f"failed: {error}", flush=True)
    except BaseException:  # interrupted
        shutil.rmtree(partial)
        raise
    result["files"] = {path.name: sha256(path) for path in sorted(partial.glob("*.npz"))}
    (partial / RESULT).write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    partial.rename(final)
    shutil.rmtree(old, ignore_errors=True)
    return not result["error"]


def component_job(folder: Path, index: Job, bundle: Job, component: str, runtime: str) -> Job:
    """Everything a child has to know of a component."""
    manifest = json.loads((folder / bundle["folder"] / "manifest.json").read_text("utf-8"))
    wanted = (component, runtime)
    record = next(f for f in manifest["files"] if (f["component"], f["runtime"]) == wanted)
    return {
        "component": component,
        "file": str(folder / bundle["folder"] / record["path"]),
        "function": record.get("function", ""),
        "signature": manifest["signatures"][component],
        "folder": str(folder),
        "answers": index["references"][bundle["reference"]]["answers"],
        **{key: bundle[key] for key in ("images", "prompts", "cases")},
        "together": [
            [case for case in own if photo["cases"][case].get("everyday", True)]
            for photo, own in zip(index["photos"], bundle["cases"])
        ],
    }


def in_own_process(job: Job) -> Job:
    """What :func:`run_component` returns, run in a child; its last line if it fails.

    How much of it is answered is counted on the terminal.
    """
    command = [sys.executable, str(Path(__file__).resolve()), ONE_COMPONENT]
    pipes: Job = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with tempfile.TemporaryFile("w+") as errors:
        with subprocess.Popen(command, stderr=errors, **pipes) as child:
            assert child.stdin and child.stdout
            try:
                with contextlib.suppress(BrokenPipeError), child.stdin as told:
                    told.write(json.dumps(job))
                lines = [line.strip() for line in child.stdout if not count_answers(line)]
            except BaseException:  # interrupted
                child.kill()
                raise
        errors.seek(0)
        said = errors.read().strip().splitlines()
    if child.returncode < 0:
        raise ReplayError(f"the {job['component']} was killed by signal {-child.returncode}")
    if child.returncode:
        raise ReplayError(f"the {job['component']} failed: {(said or ['no reason given'])[-1]}")
    taken: Job = json.loads([line for line in lines if line][-1])
    return taken


def count_answers(line: str) -> bool:
    """Whether a child's line says how much is answered; that then goes to the terminal."""
    if not line.startswith(ANSWERED):
        return False
    print(line[len(ANSWERED) :].strip(), end=" ", flush=True)
    return True


def read_index(folder: Path) -> Job:
    """``replay.json``; raises :class:`ReplayError` unless every file is as it was packed."""
    try:
        index: Job = json.loads((folder / INDEX).read_text("utf-8"))
        version, files = index["schema_version"], index["files"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ReplayError(f"{folder} has no readable {INDEX}: pack it again") from None
    if version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        raise ReplayError(f"{INDEX} is of version {version}, this script reads {SCHEMA_VERSION}")
    for name, expected in files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != expected:
            problem = "not as it was packed" if path.is_file() else "missing"
            raise ReplayError(f"'{name}' is {problem}: copy the folder again")
    return index


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            total.update(piece)
    return total.hexdigest()


def machine(emulated_cpu: str) -> dict[str, str]:
    """Where this runs, for the report."""
    processor = platform.processor() or platform.machine()
    if emulated_cpu:
        processor = f"{platform.machine()} (qemu, {emulated_cpu})"
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        processor = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return {
        "system": platform.platform(),
        "processor": processor,
        "architecture": platform.machine(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def main() -> int:
    """The command line; with :data:`ONE_COMPONENT`, the child that reads its job from stdin."""
    if sys.argv[1:] == [ONE_COMPONENT]:
        try:
            taken = run_component(json.loads(sys.stdin.read()))
        except Exception as error:  # native runtimes raise types of their own
            print(f"\n{' '.join(str(error).split()) or type(error).__name__}", file=sys.stderr)
            return 1
        print("\n" + json.dumps(taken))  # runtimes print as they like; the answer is the last line
        return 0
    units = f"one result for each of {', '.join(COMPUTE_UNITS)}, of Core ML (default: ALL)"
    parser = argparse.ArgumentParser(description="Answer every case of this replay folder.")
    add = parser.add_argument
    add("--compute-units", nargs="+", type=str.upper, choices=COMPUTE_UNITS, help=units)
    add("--bundle", nargs="+", default=[], metavar="NAME", help="only these (default: all)")
    add("--threads", type=int, help="of the runtime (default: its own choice)")
    seconds = (
        f"seconds that a component is timed for, {MIN_RUNS} runs at least (default: {BUDGET_S})"
    )
    add("--timing", type=float, default=BUDGET_S, metavar="SECONDS", help=seconds)
    emulated = "qemu runs this interpreter as this CPU: nothing is timed"
    add("--emulated-cpu", default="", metavar="NAME", help=emulated)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the child ends too
    folder = Path(__file__).resolve().parent
    try:
        told = {"threads": given.threads, "budget": given.timing}
        told["emulated_cpu"] = given.emulated_cpu
        done = replay(folder, given.bundle, given.compute_units or ["ALL"], told)
    except ReplayError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
