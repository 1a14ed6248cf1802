"""Worker: load one component, alone in its process, and run it whenever the parent asks.

``python -m parity.cost.worker`` reads one job as JSON from standard input, loads what it names,
runs it once and answers with a line of JSON. Each further line is a turn: the component is run,
and the seconds are answered. Between turns the process waits for input and computes nothing; it
ends with its input. It imports no more than the runtime needs, so that the memory it reports is
the runtime's (PyTorch alone would add 200 MB).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

import numpy as np

from mobilesam.memory import peak_memory_mb

TURN_S = 0.1
"""Seconds that a turn lasts at least."""


def serve(job: dict[str, Any], turns: Iterable[object]) -> Iterator[dict[str, Any]]:
    """Answer that the component is loaded, then what each turn cost.

    Args:
        job: ``kind`` (``bundle`` or ``reference``), ``component``, ``threads``, and what
            :func:`_bundle` or :func:`_reference` need.
        turns: one item for each.

    Yields:
        First some fields of ``parity.schema.Measurement`` and ``first_s``, the seconds of the first
        run, which may still prepare; then for each turn ``seconds``, one for each run, and
        ``peak_memory_mb`` so far.
    """
    prepare = _bundle if job["kind"] == "bundle" else _reference
    load = prepare(job)
    baseline = peak_memory_mb()
    begun = time.perf_counter()
    run, facts = load()
    loaded = time.perf_counter()
    run()
    yield {
        "component": job["component"],
        "threads": job["threads"],
        "load_s": loaded - begun,
        "first_s": time.perf_counter() - loaded,
        "baseline_memory_mb": baseline,
        "peak_memory_mb": peak_memory_mb(),
        **facts,
    }
    for _ in turns:
        yield {"seconds": turn(run), "peak_memory_mb": peak_memory_mb()}


def turn(run: Callable[[], object], least_s: float = TURN_S) -> list[float]:
    """Seconds of each run, for ``least_s`` seconds but at least one run.

    Of several the first is left out: other processes have run since the last turn, so the caches
    hold what is theirs. A run that takes as long as a turn fills them early in its time.
    """
    seconds: list[float] = []
    begun = time.perf_counter()
    while not seconds or time.perf_counter() - begun < least_s:
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return seconds[1:] or seconds


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


def example(specs: Collection[Any], input_variant: str) -> dict[str, np.ndarray]:
    """Seeded inputs by name: a noisy photo that fills the frame, or one click at its centre."""
    generator = np.random.default_rng(0)
    inputs = {spec.name: generator.standard_normal(spec.shape, np.float32) for spec in specs}
    if input_variant != "normalized":
        for spec in specs:
            if spec.name in ("image", "input_image"):
                inputs[spec.name] = generator.uniform(0, 255, spec.shape).astype(spec.dtype)
    if "valid_size" in inputs:
        inputs["valid_size"] = np.full(2, inputs["image"].shape[2], np.float32)
    if "orig_im_size" in inputs:  # a photo as large as the frame
        inputs["orig_im_size"] = np.full(2, 4 * inputs["mask_input"].shape[-1], np.float32)
    if "point_labels" in inputs:
        labels = np.full(inputs["point_labels"].shape, -2, np.float32)
        labels[0, :2] = 1, -1
        coords = np.zeros(inputs["point_coords"].shape, np.float32)
        coords[0, 0] = 2 * inputs["mask_input"].shape[-1]
        inputs |= {"point_labels": labels, "point_coords": coords}
        inputs["has_mask_input"] = np.zeros(1, np.float32)
    return inputs


def _main() -> None:
    # Runtimes print to standard output as they like: what they print goes to standard error.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for answer in serve(json.loads(sys.stdin.readline()), sys.stdin):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _main()
