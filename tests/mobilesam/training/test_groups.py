"""The audit of parameter groups: it finds what is inert, covers everything, changes nothing."""

import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from mobilesam.errors import InputError
from mobilesam.model.sam import MobileSAM
from mobilesam.model.vit import ViT
from mobilesam.training.groups import (
    GROUPS,
    Group,
    Moved,
    audit,
    examples_of,
    groups_of,
    main,
    table,
)
from mobilesam.training.initial import initial_model, initialise
from tests.mobilesam.training.conftest import write_objects
from tests.tiny_bundles import SMALL_VIT


@pytest.fixture(scope="module")
def model() -> MobileSAM:
    return initial_model("vit_t", "fresh", 64, 1).eval().requires_grad_(False)


def with_plain_vit() -> MobileSAM:
    model = MobileSAM(ViT(SMALL_VIT), variant="small", image_size=64)
    initialise(model, 1)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("encoder", ["TinyViT", "ViT"])
def test_every_parameter_is_in_one_group(model: MobileSAM, encoder: str) -> None:
    if encoder == "ViT":
        model = with_plain_vit()
    own = groups_of(model)
    for name, _ in model.named_parameters():
        holding = [group for group in GROUPS if re.match(group.pattern, name)]
        assert [group for group in holding if group not in own] == []
        rows = [group.row for group in holding]
        assert rows == [None] or rows == [0, 1, 2, 3], name
    if encoder == "TinyViT":
        assert {group.name for group in GROUPS if group not in own} == {"position embedding"}
    sizes = [sum(p.numel() for p in group.parameters(model)) for group in own]
    assert min(sizes) > 0 and sum(sizes) == sum(p.numel() for p in model.parameters())


def test_what_moves_is_told_and_put_back(model: MobileSAM, objects: Path) -> None:
    examples = examples_of(objects, 64, 2)
    assert len(examples) == 2 and examples[0].image.shape == (1, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    groups = [group for group in GROUPS if group.name in ("attention biases", "mask token 2")]
    groups += [Group("nothing", "no such parameter"), Group("IoU head", "mask_decoder.iou_pred")]
    biases, token, nothing, head = audit(model, examples, groups)
    assert biases.embedding > 0.01 and not biases.is_inert
    assert biases.count == 4 * 2 * 49 + 5 * 6 * 196 + 10 * 2 * 49
    assert token.count == 256 and token.embedding == 0 and token.masks > 0
    assert nothing.is_inert and nothing.embedding == nothing.masks == nothing.predictions == 0
    assert head.masks == 0 and head.predictions > 0
    after = model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_table() -> None:
    rows = [
        Moved(Group("biases", "x"), 1234, 0.5, 0.25, 0.125),
        Moved(Group("token", "y"), 5, 0.0, 0.001, 0.0),
    ]
    lines = table(rows).splitlines()
    assert lines[2] == "| biases | 1,234 | 0.500 | 0.250 | 0.125 |"
    assert lines[3] == "| token (inert) | 5 | – | 0.001 | 0.000 |"


def test_examples_are_in_the_frame(tmp_path: Path) -> None:
    folder = write_objects(tmp_path / "objects")
    names = tmp_path / "names.txt"
    names.write_text("2.png\n")
    (example,) = examples_of(folder, 80, 5, names)
    assert example.clicks.tolist() == [[45.0, 30.0]]  # of 160 pixels, at half the size
    assert example.boxes.shape == (1, 4)


def test_images_without_a_mask_to_score_are_told(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "manifest.json").write_text('{"images": [{"file": "a.png"}]}')
    with pytest.raises(InputError, match="has a mask that can be scored"):
        examples_of(tmp_path, 64, 1)


def test_command(model: MobileSAM, objects: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main("demo", objects, None, 1, 64)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(groups_of(model))
    assert all(line.count("|") == 6 for line in lines)
