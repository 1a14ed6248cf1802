"""Every package that an export to Core ML can write loads, and answers as PyTorch does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conftest import shared_folder
from converters import export
from converters.coreml.options import CHOICES, IOS_VERSIONS, CoreMLOptions
from converters.schemes import COREML
from mobilesam.bundle.contract import COMPONENTS
from mobilesam.errors import InputError
from mobilesam.inference.prompts import make_prompt
from mobilesam.inference.transforms import Frame
from mobilesam.runtimes import open_runner
from mobilesam.runtimes.bundle import Bundle
from mobilesam.runtimes.reference import ReferenceRunner
from tests.shared_bundles import in_this_process
from tests.tiny_bundles import SIZE, tiny_model

ct = pytest.importorskip("coremltools", reason="coremltools is not installed")

# Together they have every pair of choices of two options that there is.
PACKAGES = [
    CoreMLOptions(ios=16, input="tensor", slots="range", compute_units="cpu_and_gpu"),
    CoreMLOptions(ios=17, input="image", slots="range"),
    CoreMLOptions(input="image", slots="enumerated"),
    CoreMLOptions(input="tensor", slots="enumerated", package="multifunction"),
    CoreMLOptions(ios=18, input="tensor", slots="fixed", package="multifunction"),
]
ONE_PACKAGE = CoreMLOptions(
    package="multifunction", input="image", slots="range", compute_units="cpu_and_ne"
)
PHOTO_SIZE = (90, 120)
BOX = [20, 10, 100, 80]
PROMPTS = [
    make_prompt([[40, 30]], [1], original_size=PHOTO_SIZE),
    make_prompt([[40, 30], [90, 70]], [1, 0], original_size=PHOTO_SIZE),
    make_prompt(None, None, BOX, original_size=PHOTO_SIZE),
    make_prompt([[40, 30], [60, 50], [90, 70]], [1, 1, 0], BOX, original_size=PHOTO_SIZE),
]
LIMITS = {"fp32": 1e-4, "fp16": 1e-2}


def name_of(options: CoreMLOptions) -> str:
    return "-".join(str(value) for value in options.model_dump().values())


def export_coreml(scheme: str, options: CoreMLOptions, out: Path, **other: Any) -> Bundle:
    """The tiny model as a Core ML bundle in a folder."""
    asked: dict[str, Any] = {"targets": COREML, "schemes": scheme, "options": {COREML: options}}
    with in_this_process():
        (made,) = export(tiny_model(), out=out, progress=False, **asked, **other)
    return Bundle(made.path)


def exported(options: CoreMLOptions, scheme: str) -> Bundle:
    """The same in the folder that tests share; to be read only."""
    return export_coreml(scheme, options, shared_folder("coreml-options") / name_of(options))


def relative(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def test_every_choice_is_exported() -> None:
    for option, choices in CHOICES.items():
        if option != "compute_units":
            assert {getattr(each, option) for each in PACKAGES} == set(choices)
    assert {each.deployment_target("fp32") for each in PACKAGES} == set(IOS_VERSIONS)


@pytest.mark.slow
@pytest.mark.parametrize("options", PACKAGES, ids=name_of)
def test_package_answers_as_pytorch(options: CoreMLOptions) -> None:
    model = tiny_model()
    scheme = "fp16" if options.input == "image" else "fp32"
    bundle = exported(options, scheme)
    manifest = bundle.manifest
    said = {key: manifest.options[key] for key in CHOICES}
    assert said == options.model_dump(exclude={"ios"})
    one_file = options.package == "multifunction"
    assert len({record.path for record in manifest.files}) == (1 if one_file else 2)
    assert {record.function for record in manifest.files} == (
        {"encode", "decode"} if one_file else {""}
    )
    assert not bundle.altered()

    photo = np.random.default_rng(0).integers(0, 256, (*PHOTO_SIZE, 3), np.uint8)
    frame = Frame(PHOTO_SIZE, SIZE)
    with ReferenceRunner(model) as reference, open_runner(bundle, COREML) as runner:
        wanted = reference.encode(photo)
        assert relative(runner.encode(photo), wanted) < LIMITS[scheme]
        for prompt in PROMPTS:
            right = reference.decode(wanted, prompt, frame)
            found = runner.decode(wanted, prompt, frame)
            assert relative(found.low_res, right.low_res) < LIMITS[scheme]
            assert relative(found.iou, right.iou) < LIMITS[scheme]


@pytest.mark.slow
def test_one_package_keeps_what_it_says_of_itself() -> None:
    bundle = exported(ONE_PACKAGE, "fp32")
    assert bundle.size_bytes(COREML) == bundle.manifest.files[0].size_bytes
    path = bundle.file("encoder", COREML)
    description = ct.models.MLModel(str(path), skip_model_load=True).get_spec().description
    metadata = description.metadata
    assert metadata.author == "mobilesam-export"
    assert "image encoder" in metadata.shortDescription
    assert "mask decoder" in metadata.shortDescription
    assert metadata.userDefined["weights_sha256"] == bundle.manifest.weights.sha256
    assert metadata.userDefined["components"] == "encoder, decoder"
    assert description.defaultFunctionName == "encode"
    for component, function in zip(COMPONENTS, description.functions, strict=True):
        signature = bundle.manifest.signatures[component]
        assert function.name == signature.name
        features = {each.name: each for each in (*function.input, *function.output)}
        for record in (*signature.inputs, *signature.outputs):
            assert record.meaning in features[record.name].shortDescription
    image = description.functions[0].input[0].type.imageType
    assert (image.width, image.height) == (SIZE, SIZE)


def test_an_image_gives_what_the_tensor_gives(tiny_bundle: Callable[..., Bundle]) -> None:
    image = exported(CoreMLOptions(input="image"), "fp16")
    photo = np.random.default_rng(1).integers(0, 256, (*PHOTO_SIZE, 3), np.uint8)
    found = []
    for bundle in (image, tiny_bundle(COREML, "fp16")):
        with open_runner(bundle, COREML, components=("encoder",)) as runner:
            found.append(runner.encode(photo))
    first, second = found
    assert np.array_equal(first, second)


@pytest.mark.slow
def test_a_mac_is_given_the_function_the_units_and_an_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``MLModel`` is a fake here: what is tested is how it would be called."""
    bundle = exported(ONE_PACKAGE, "fp32")
    calls: list[dict] = []

    class FakeModel:
        def __init__(self, path: str, **options: object) -> None:
            calls.append({"path": path, **options})

        def predict(self, features: dict) -> dict[str, np.ndarray]:
            calls.append(features)
            (output,) = bundle.manifest.signatures["encoder"].outputs
            return {output.name: np.zeros(output.shape, np.float32)}

    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr(ct.models, "MLModel", FakeModel)
    photo = np.full((SIZE, SIZE, 3), 7, np.uint8)
    with open_runner(bundle, COREML) as runner:
        assert "CPU_AND_NE" in runner.engine
        runner.encode(photo)
    opened = [call for call in calls if "path" in call]
    assert [call["function_name"] for call in opened] == ["encode", "decode"]
    assert {call["compute_units"] for call in opened} == {ct.ComputeUnit.CPU_AND_NE}
    image = calls[-1]["image"]
    assert isinstance(image, Image.Image)
    assert (image.mode, image.size) == ("RGB", (SIZE, SIZE))
    assert np.array_equal(np.asarray(image), photo)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (CoreMLOptions(ios=17, slots="enumerated"), "enumerated slots needs iOS 18, not iOS 17"),
        (
            CoreMLOptions(ios=16, package="multifunction"),
            "multifunction package needs iOS 18, not iOS 16",
        ),
    ],
)
def test_what_an_old_system_cannot_run_is_refused(
    options: CoreMLOptions, said: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said):
        export_coreml("fp32", options, tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_image_input_is_of_pixels(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs the input variant 'pixels', not 'normalized'"):
        export_coreml("fp32", CoreMLOptions(input="image"), tmp_path, input_variant="normalized")


def test_slot_counts() -> None:
    assert CoreMLOptions().slot_counts(8) == ()
    assert CoreMLOptions(slots="range").slot_counts(5) == (2, 3, 4, 5)
    assert CoreMLOptions(slots="enumerated").slot_counts(8) == (2, 4, 8)
    assert CoreMLOptions(slots="enumerated").slot_counts(6) == (2, 4, 6)
