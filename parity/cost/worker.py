"""Worker: load and run one component, alone in its process, and print what it cost as JSON.

``python -m parity.cost.worker`` reads one job as JSON from standard input. It imports no more than
the runtime needs, so that the memory it reports is the runtime's (PyTorch alone would add 200 MB).
"""

import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

MIN_RUNS, MAX_RUNS = 3, 50


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """What one job cost.

    Args:
        job: ``kind`` (``bundle`` or ``reference``), ``component``, ``threads``, ``budget_s``, and
            what :func:`_bundle` or :func:`_reference` need.

    Returns:
        Fields of ``parity.schema.Measurement``.
    """
    prepare = _bundle if job["kind"] == "bundle" else _reference
    load = prepare(job)
    baseline = peak_memory_mb()
    begun = time.perf_counter()
    run, facts = load()
    loaded = time.perf_counter() - begun
    seconds = timed(run, job["budget_s"], warm=facts["representative"])
    return {
        "component": job["component"],
        "load_s": loaded,
        "timing": {
            "median_s": float(np.median(seconds)),
            "p90_s": float(np.percentile(seconds, 90)),
            "runs": len(seconds),
        },
        "peak_memory_mb": peak_memory_mb(),
        "baseline_memory_mb": baseline,
        "threads": job["threads"],
        **facts,
    }


def timed(run: Callable[[], object], budget_s: float, *, warm: bool = True) -> list[float]:
    """Seconds of each run after a warm-up, for the time given but at least MIN_RUNS.

    Without ``warm``, one run and no warm-up: for what is emulated and says nothing of a device.
    """
    seconds: list[float] = []
    begun = time.perf_counter()
    for index in range(MAX_RUNS + 1):
        started = time.perf_counter()
        run()
        ended = time.perf_counter()
        if index or not warm:
            seconds.append(ended - started)
        if not warm or len(seconds) >= MIN_RUNS and ended - begun > budget_s:
            break
    return seconds


def peak_memory_mb() -> float:
    """Most memory this process ever had resident, in MB (10^6 bytes)."""
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss would count the parent's memory, which exec carries over; VmHWM does not.
        line = next(s for s in status.read_text().splitlines() if s.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource  # not on every system

    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / 1e6 if sys.platform == "darwin" else used * 1024 / 1e6


Loaded = tuple[Callable[[], object], dict[str, Any]]


def _bundle(job: dict[str, Any]) -> Callable[[], Loaded]:
    from mobilesam.runtimes import open_runner
    from mobilesam.runtimes.bundle import Bundle

    component = job["component"]
    bundle = Bundle(job["bundle"])
    runner = open_runner(
        bundle, job["runtime"], threads=job["threads"], components=(component,), **job["options"]
    )
    inputs = example(bundle.manifest.signatures[component].inputs, bundle.manifest.input_variant)

    def load() -> Loaded:
        runner.load()
        facts = {
            "delegate_partitions": runner.delegate_partitions(component),
            "representative": runner.representative,
        }
        return lambda: runner.run(component, inputs), facts

    return load


def _reference(job: dict[str, Any]) -> Callable[[], Loaded]:
    import torch

    from converters.modules import example_inputs
    from mobilesam.bundle.contract import Contract
    from mobilesam.model.build import load_model

    torch.set_num_threads(job["threads"])

    def load() -> Loaded:
        model = load_model(job["weights"], job["variant"], job["image_size"])
        tensors = example_inputs(Contract.of(model, input_variant="normalized"), job["component"])
        prompts = model.prompt_encoder

        @torch.inference_mode()
        def encode() -> object:
            return model.image_encoder(tensors["image"])

        @torch.inference_mode()
        def decode() -> object:
            points = tensors["point_coords"][:, :1], torch.ones(1, 1)
            sparse, dense = prompts(points, None, None)
            embedding = tensors["image_embeddings"]
            return model.mask_decoder(embedding, prompts.image_position(), sparse, dense)

        return (encode if job["component"] == "encoder" else decode), {"representative": True}

    return load


def example(specs: Iterable[Any], input_variant: str) -> dict[str, np.ndarray]:
    """Seeded inputs by name: a noisy photo that fills the frame, or one click at its centre."""
    generator = np.random.default_rng(0)
    inputs = {spec.name: generator.standard_normal(spec.shape, np.float32) for spec in specs}
    if "image" in inputs and input_variant == "pixels":
        inputs["image"] = generator.uniform(0, 255, inputs["image"].shape).astype(np.float32)
        inputs["valid_size"] = np.array(inputs["image"].shape[2:], np.float32)
    if "point_labels" in inputs:
        labels = np.full(inputs["point_labels"].shape, -2, np.float32)
        labels[0, :2] = 1, -1
        coords = np.zeros(inputs["point_coords"].shape, np.float32)
        coords[0, 0] = 2 * inputs["mask_input"].shape[-1]
        inputs |= {"point_labels": labels, "point_coords": coords}
        inputs["has_mask_input"] = np.zeros(1, np.float32)
    return inputs


if __name__ == "__main__":
    # Runtimes print to standard output as they like; the answer is the last line.
    answer = measure(json.loads(sys.stdin.read()))
    print("\n" + json.dumps(answer))
