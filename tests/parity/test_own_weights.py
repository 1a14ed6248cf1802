"""Files of few bits against PyTorch with their own weights: a wrong graph is seen in them too."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from converters.base import converter_of
from converters.lookup import combinations, schemes_of
from converters.modules import DecoderModule, build_module, example_inputs
from converters.provenance import weights_record
from converters.schemes import TARGETS
from mobile_runtime_tests.faults import rewritten
from mobile_runtime_tests.prompt_faults import PROMPT_FAULTS
from mobilesam.bundle.contract import COMPONENTS
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from parity.audits import add_audits
from parity.image_folder import folder_photos
from parity.judging import BundleRun, check_run, judge_graph
from parity.photos import stored_photos
from parity.references import PhotoReference, reference_answers
from parity.schema import BundleReport
from parity.thresholds import Thresholds
from parity.weight_audit.audit import audit
from parity.weight_audit.restoring import restored
from parity.weight_audit.run import read_file
from tests.parity.fakes import write_photos
from tests.specs import make_job
from tests.tiny_bundles import SIZE, tiny_bundle, tiny_model

Answers = Sequence[PhotoReference]
LIMITS = Thresholds()
ASKED = [pair for pair in combinations() if LIMITS.row(*pair).own_weights]


def test_every_scheme_whose_activations_are_float_is_asked() -> None:
    assert set(ASKED) == {
        *(("coreml", scheme) for scheme in ("w8", "w4", "p8", "p6", "p4")),
        ("coreai", "w8"),
        ("tflite", "w8"),
        ("onnx", "w8"),
    }


@pytest.mark.parametrize("target", TARGETS)
def test_the_weights_of_a_float_file_are_the_models(target: str) -> None:
    """Whatever a converter folds is unfolded again."""
    bundle, model = tiny_bundle(target), tiny_model()
    assert "fp32" in schemes_of(target)
    for component in COMPONENTS:
        found = audit(model, component, read_file(bundle, bundle.runtimes[0], component)).pairs
        own = restored(model, found.values())
        contract = bundle.manifest.contract
        inputs = tuple(example_inputs(contract, component).values())
        with torch.inference_mode():
            one, other = (build_module(each, component, contract)(*inputs) for each in (model, own))
        for wanted, value in zip(_listed(one), _listed(other), strict=True):
            assert torch.linalg.norm(value - wanted) <= 2e-5 * torch.linalg.norm(wanted)


def _listed(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    photos = folder_photos(write_photos(tmp_path_factory.mktemp("own") / "photos"))
    with (
        stored_photos(photos, [SIZE], strips=True) as kept,
        ReferenceRunner(tiny_model()) as reference,
        reference_answers(reference, kept, slots=8) as given,
    ):
        yield given


def judged(bundle: Bundle, answers: Answers) -> BundleReport:
    """The audits and this one; the scheme's own limits are left out."""
    manifest, runtime = bundle.manifest, bundle.runtimes[0]
    run = BundleRun(bundle, runtime, LIMITS.row(manifest.target, manifest.scheme.name))
    report = check_run(run, SimpleNamespace(weights=weights_record(tiny_model())))
    assert not report.reasons
    report.verdict = "PASS"
    pairs = add_audits(report, bundle, runtime, tiny_model())
    judge_graph(report, run, LIMITS, pairs, tiny_model(), answers, 1, None)
    return report


@pytest.mark.parametrize(("target", "scheme"), ASKED)
def test_right_files_pass(target: str, scheme: str, answers: Answers) -> None:
    report = judged(tiny_bundle(target, scheme), answers)
    made = [check for check in report.checks if check.metric.startswith("own_weights_")]
    assert report.verdict == "PASS", report.reasons
    assert {check.stage for check in made} == {"encoder", "decoder"}


# Not the clipping of PROMPT_FAULTS: of infinity, which is not to be read, that makes not-a-number.
FAULTS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    **{n: PROMPT_FAULTS[n] for n in ("the half pixel missing", "the padding point missing")},
    "the mask input clipped": lambda coords, labels, m, given: (
        coords,
        labels,
        m.clamp(-1, 1),
        given,
    ),
}


class _Faulty(DecoderModule):
    change: Callable[..., tuple[Tensor, ...]]

    def forward(
        self,
        image_embeddings: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, ...]:
        """As the right decoder, of other inputs."""
        prompt = self.change(point_coords, point_labels, mask_input, has_mask_input)
        return super().forward(image_embeddings, *prompt)


# The random model hardly heeds a mask: what clipping changes is hidden by float16's rounding.
PLANTED = [
    (target, scheme, name)
    for target, scheme in (("coreml", "p4"), ("coreml", "w4"), ("tflite", "w8"), ("onnx", "w8"))
    for name in FAULTS
    if name != "the mask input clipped" or target != "coreml"
]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "scheme", "name"), PLANTED)
def test_graphs_that_are_wrong_within_the_scheme_s_own_error_fail(
    target: str, scheme: str, name: str, answers: Answers, tmp_path: Path
) -> None:
    place = tmp_path / "converted"
    place.mkdir()
    job = make_job(tiny_model(), "decoder", place, target, scheme)
    module = _Faulty(tiny_model(), job.spec.contract).eval().requires_grad_(False)
    module.change = FAULTS[name]
    converter_of(target).convert(replace(job, module=module))
    bundle = tiny_bundle(target, scheme)

    def put(path: Path) -> None:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        job.path(path.suffix).rename(path)

    report = judged(Bundle(rewritten(bundle.path, tmp_path, "decoder", put)), answers)
    assert report.verdict == "FAIL"
    assert all(reason.startswith("decoder own_weights_") for reason in report.reasons)


def test_a_bundle_whose_weights_could_not_be_read_is_not_judged_so(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: object) -> None:
        raise ImportError("no onnx", name="onnx")

    monkeypatch.setattr("parity.weight_audit.run.read_file", absent)
    report = judged(tiny_bundle("onnx", "w8"), answers)
    assert report.verdict == "PASS"
    assert any("the graph was not judged alone" in note for note in report.notes)
