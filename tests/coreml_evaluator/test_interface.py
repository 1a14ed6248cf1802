"""What a package says of its inputs and functions: flexible shapes, images, several functions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coreml_evaluator import CoreMLProgram, functions_of
from coreml_evaluator.errors import ProgramError, ProgramInputError
from tests.coreml_evaluator.mil_programs import ct

LAYOUTS = {"RGB": 3, "BGR": 3, "GRAYSCALE": 1}


class Doubled(torch.nn.Module):
    """[1, n, 2] to [1, 4n]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x * 2, x], dim=1).reshape(1, -1)


def saved(
    path: Path,
    module: torch.nn.Module,
    example: torch.Tensor,
    given: Any,
    ios: int = 16,
    half: bool = False,
) -> Path:
    """A module as a package with one input, as given, and the output ``y``."""
    model = ct.convert(
        torch.jit.trace(module.eval(), example),
        inputs=[given],
        outputs=[ct.TensorType(name="y")],
        minimum_deployment_target=getattr(ct.target, f"iOS{ios}"),
        compute_precision=ct.precision.FLOAT16 if half else ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(path))
    return path


@pytest.mark.parametrize(
    ("shape", "sizes", "refused", "said"),
    [
        ((1, ct.RangeDim(2, 6, default=5), 2), (2, 5, 6), (1, 7), r"shape \[1, 2\.\.6, 2\], not"),
        (
            ct.EnumeratedShapes([(1, 5, 2), (1, 8, 2)], default=(1, 5, 2)),
            (5, 8),
            (6,),
            r"shape one of \[1, 5, 2\], \[1, 8, 2\], not",
        ),
    ],
    ids=["range", "enumerated"],
)
def test_flexible_shapes(
    tmp_path: Path, shape: Any, sizes: tuple[int, ...], refused: tuple[int, ...], said: str
) -> None:
    given = ct.TensorType(name="x", shape=ct.Shape(shape) if isinstance(shape, tuple) else shape)
    opened = CoreMLProgram(saved(tmp_path / "f.mlpackage", Doubled(), torch.zeros(1, 5, 2), given))
    assert opened.inputs[0].shape == (1, None, 2)
    for size in sizes:
        x = torch.arange(2.0 * size).reshape(1, size, 2)
        assert torch.equal(opened.run({"x": x})["y"], Doubled()(x))
    for size in refused:
        with pytest.raises(ProgramInputError, match=said):
            opened.run({"x": np.zeros((1, size, 2), np.float32)})


def test_two_enumerated_inputs_vary_together(tmp_path: Path) -> None:
    """As the points and labels of a decoder do; iOS 18 allows it."""

    class Weighted(torch.nn.Module):
        def forward(self, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            return (x * weights.unsqueeze(-1)).sum(1)

    model = ct.convert(
        torch.jit.trace(Weighted(), (torch.zeros(1, 4, 2), torch.zeros(1, 4))),
        inputs=[
            ct.TensorType(name="x", shape=ct.EnumeratedShapes([(1, 4, 2), (1, 2, 2)])),
            ct.TensorType(name="weights", shape=ct.EnumeratedShapes([(1, 4), (1, 2)])),
        ],
        outputs=[ct.TensorType(name="y")],
        minimum_deployment_target=ct.target.iOS18,
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(tmp_path / "e.mlpackage"))
    opened = CoreMLProgram(tmp_path / "e.mlpackage")
    for size in (2, 4):
        x, weights = torch.randn(1, size, 2), torch.randn(1, size)
        torch.testing.assert_close(
            opened.run({"x": x, "weights": weights})["y"], Weighted()(x, weights)
        )


def image_package(folder: Path, layout: str = "RGB", half: bool = False, **options: Any) -> Path:
    channels = LAYOUTS[layout]
    given = ct.ImageType(
        name="photo",
        shape=options.pop("shape", (1, channels, 6, 8)),
        color_layout=getattr(ct.colorlayout, layout),
        **options,
    )
    example = torch.zeros(1, channels, 6, 8)
    return saved(folder / "image.mlpackage", torch.nn.ReLU(), example, given, half=half)


@pytest.mark.parametrize("half", [False, True])
def test_image_is_the_tensor_that_the_program_sees(tmp_path: Path, half: bool) -> None:
    bias = np.array([-100, -50, -1], np.float32)
    opened = CoreMLProgram(image_package(tmp_path, half=half, scale=0.5, bias=list(bias)))
    assert opened.images == {"photo"}
    assert opened.inputs[0].shape == (1, 3, 6, 8)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 6, 8), np.uint8)
    # Scale and bias are ops of the program, applied to whole pixel values.
    expected = np.maximum(pixels * np.float32(0.5) + bias.reshape(3, 1, 1), 0)
    for given in (pixels, pixels.astype(np.float32)):
        np.testing.assert_array_equal(opened.run({"photo": given})["y"].numpy(), expected)


@pytest.mark.parametrize("value", [0.5, -1, 256, np.nan])
def test_values_that_no_pixel_has_are_refused(tmp_path: Path, value: float) -> None:
    opened = CoreMLProgram(image_package(tmp_path))
    photo = np.full((1, 3, 6, 8), 7, np.float32)
    photo[0, 1, 2, 3] = value
    with pytest.raises(ProgramInputError, match="'photo' .* give whole numbers of 0 to 255"):
        opened.run({"photo": photo})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "GRAYSCALE"}, "'photo' is GRAYSCALE, and the evaluator knows RGB only"),
        ({"layout": "BGR"}, "'photo' is BGR, and the evaluator knows RGB only"),
        (
            {"shape": ct.Shape((1, 3, 6, ct.RangeDim(8, 16, default=8)))},
            "'photo' is of flexible size",
        ),
    ],
)
def test_other_images_are_refused(tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        CoreMLProgram(image_package(tmp_path, **options))


def test_image_output_is_refused(tmp_path: Path) -> None:
    model = ct.convert(
        torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 3, 6, 8)),
        inputs=[ct.TensorType(name="x", shape=(1, 3, 6, 8))],
        outputs=[ct.ImageType(name="drawn")],
        minimum_deployment_target=ct.target.iOS16,
        skip_model_load=True,
    )
    model.save(str(tmp_path / "drawing.mlpackage"))
    with pytest.raises(ProgramError, match="'drawn' is a Core ML imageType"):
        CoreMLProgram(tmp_path / "drawing.mlpackage")


class Projected(torch.nn.Module):
    """Rows of 64 values times a weight that several functions share, and then some factor."""

    def __init__(self, weight: torch.nn.Linear, factor: float) -> None:
        super().__init__()
        self.weight, self.factor = weight, factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight(x.reshape(1, -1, 64)) * self.factor


@pytest.fixture(scope="module")
def multifunction(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Linear]:
    """Functions ``rows`` (one to nine of them) and ``photo`` (an image), and their one weight."""
    folder = tmp_path_factory.mktemp("functions")
    weight = torch.nn.Linear(64, 64)
    flexible = ct.TensorType(name="x", shape=(ct.RangeDim(1, 9, default=2), 64))
    image = ct.ImageType(name="photo", shape=(1, 3, 8, 8))
    described = ct.utils.MultiFunctionDescriptor()
    for name, module, example, given in (
        ("rows", Projected(weight, 2), torch.zeros(2, 64), flexible),
        ("photo", Projected(weight, -1), torch.zeros(1, 3, 8, 8), image),
    ):
        path = saved(folder / f"{name}.mlpackage", module, example, given, ios=18)
        described.add_function(str(path), "main", name)
    described.default_function_name = "rows"
    ct.utils.save_multifunction(described, str(folder / "both.mlpackage"))
    return folder / "both.mlpackage", weight


@torch.inference_mode()
def test_each_function_is_evaluated(multifunction: tuple[Path, torch.nn.Linear]) -> None:
    path, weight = multifunction
    assert functions_of(path) == ("rows", "photo")
    (stored,) = path.rglob("weight.bin")
    assert stored.stat().st_size < 2 * 64 * 64 * 4  # once, not once a function

    rows = CoreMLProgram(path, function="rows")
    assert (rows.function, rows.images) == ("rows", frozenset())
    for count in (1, 9):
        x = torch.randn(count, 64)
        torch.testing.assert_close(rows.run({"x": x})["y"], weight(x)[None] * 2)
    with pytest.raises(ProgramInputError, match=r"shape \[1\.\.9, 64\], not \[10, 64\]"):
        rows.run({"x": torch.zeros(10, 64)})

    photo = CoreMLProgram(path, function="photo")
    assert (photo.function, photo.images) == ("photo", frozenset({"photo"}))
    pixels = torch.randint(0, 256, (1, 3, 8, 8)).float()
    expected = -weight(pixels.reshape(1, 3, 64))
    torch.testing.assert_close(photo.run({"photo": pixels})["y"], expected)


def test_function_must_be_known(multifunction: tuple[Path, torch.nn.Linear]) -> None:
    path, _ = multifunction
    assert CoreMLProgram(path).function == "rows"  # the package's default
    with pytest.raises(ProgramError, match="has no function 'main', only rows, photo"):
        CoreMLProgram(path, function="main")


def test_package_without_a_default_function_says_so(
    multifunction: tuple[Path, torch.nn.Linear], tmp_path: Path
) -> None:
    path, _ = multifunction
    model = ct.models.MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    spec.description.defaultFunctionName = ""
    ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True).save(
        str(tmp_path / "none.mlpackage")
    )
    message = "several functions and no default, name one of rows, photo"
    with pytest.raises(ProgramError, match=message):
        CoreMLProgram(tmp_path / "none.mlpackage")
    assert CoreMLProgram(tmp_path / "none.mlpackage", function="photo").function == "photo"


def test_functions_of_a_plain_package(tmp_path: Path) -> None:
    path = image_package(tmp_path)
    assert functions_of(path) == ("main",)
    assert CoreMLProgram(path).function == "main"
    with pytest.raises(ProgramError, match="is not a folder"):
        functions_of(tmp_path / "missing.mlpackage")
