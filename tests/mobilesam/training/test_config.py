"""Configurations: what is read, what is refused, and the recipes that ship."""

from pathlib import Path

import pytest

from mobilesam.data.image_files import read_names
from mobilesam.errors import InputError
from mobilesam.training.config import DistillConfig, TrainConfig, load_config
from mobilesam.training.library import load_library

GOOD = """
[data]
masks = ["some"]
[[stages]]
image_size = 64
steps = 2
batch = 1
prompts = 1
lr = 1e-3
"""

BAD = {
    "unknown key": (GOOD + "bach = 1\n", "stages.0.bach: extra inputs are not permitted"),
    "unknown table": (GOOD + "[oops]\n", "oops: extra inputs"),
    "type": (GOOD.replace("steps = 2", 'steps = "many"'), "stages.0.steps: input should be"),
    "missing key": (GOOD.replace("prompts = 1\n", ""), "stages.0.prompts: field required"),
    "size": (GOOD.replace("64", "100"), "image_size: input should be a multiple of 16"),
    "no stages": ("[data]\n", "stages: field required"),
    "nan": (GOOD.replace("1e-3", "inf"), "lr: input should be a finite number"),
    "seed": ("seed = -1\n" + GOOD, "seed: input should be greater than or equal to 0"),
    "negative share": (GOOD + "sources = {masks = -1}\n", "sources.masks: input should be"),
    "no prompts": (
        GOOD + "prompt_mix = {point = 0, box = 0, box_and_point = 0}\n",
        "prompt_mix: one kind of prompt needs a share above 0",
    ),
    "scales": (GOOD.replace("[[", "region_scales = []\n[["), "region_scales: list should have"),
    "no list": (GOOD.replace('["some"]', '"Some"'), "data.masks: it must be a list, not '"),
    "no path": (GOOD.replace('"some"', "1"), "data.masks.0: it must be a path, in quotes, not 1"),
    "no table": (
        GOOD.replace("[[", 'coco = ["Some"]\n[['),
        "data.coco.0: it must be a table of keys and values, not 'Some'",
    ),
    "optimizer": ('optimizer = "sgd"\n' + GOOD, "optimizer: input should be 'adamw' or 'muon'"),
    "TOML": ("masks = [", "is not a TOML file that can be read"),
}


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_config(path, TrainConfig)
    sentence = str(caught.value)
    assert str(path) in sentence and "\n" not in sentence
    return sentence


@pytest.mark.parametrize("fault", BAD)
def test_bad_files(fault: str, tmp_path: Path) -> None:
    text, expected = BAD[fault]
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    assert expected in refused(path)


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    recipe, names = tmp_path / "recipe.toml", tmp_path / "names.txt"
    recipe.write_text(GOOD, "utf-8-sig")
    names.write_text("one.jpg\n", "utf-8-sig")
    assert load_config(recipe, TrainConfig).stages[0].steps == 2
    assert read_names(names) == ["one.jpg"]


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "there is no configuration file" in refused(tmp_path / "gone.toml")
    assert "is not a TOML file" in refused(tmp_path)
    (tmp_path / "picture.toml").write_bytes(b"\x89PNG\xff\xfe")
    assert "is not a TOML file" in refused(tmp_path / "picture.toml")


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "recipes" / "recipe.toml"
    path.write_text(
        'init = "../runs/weights.safetensors"\n'
        + GOOD.replace(
            'masks = ["some"]',
            'masks = ["some", "/else"]\nphotos = ["../photos"]\nheld_out = "names.txt"\n'
            'coco = [{annotations = "a.json", images = "images"}]',
        )
    )
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("recipes/recipe.toml"), TrainConfig)
    folder = tmp_path / "recipes"
    assert config.data.masks == (folder / "some", Path("/else"))
    assert config.data.photos == (folder / "../photos",)
    assert config.data.held_out == folder / "names.txt"
    assert config.data.coco[0].annotations == folder / "a.json"
    assert config.data.coco[0].images == folder / "images"
    assert Path(config.init) == folder / "../runs/weights.safetensors"


@pytest.mark.parametrize("name", ["demo", "official"])
def test_weights_by_name_are_no_paths(name: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f'steps = 1\nphotos = ["p"]\nteacher = "{name}"\n')
    config = load_config(path, DistillConfig)
    assert config.teacher == name and config.photos == (tmp_path / "p",)


def test_a_configuration_survives_its_json(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(GOOD)
    config = load_config(path, TrainConfig)
    assert config.total_steps == 2
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_the_shipped_recipes(repository: Path) -> None:
    recipes = sorted((repository / "mobilesam" / "training" / "recipes").glob("*.toml"))
    assert recipes
    for path in recipes:
        kind = DistillConfig if "teacher" in path.read_text() else TrainConfig
        load_config(path, kind)
    demo = load_config(repository / "mobilesam" / "training" / "recipes" / "demo.toml", TrainConfig)
    assert demo.stages[-1].image_size == 1024
    assert demo.data.held_out is not None
    names = read_names(demo.data.held_out)
    assert len(names) >= 20
    assert all(Path(name).suffix in (".jpg", ".png") for name in names)


def test_the_shipped_list_names_photos_that_exist(
    repository: Path, shared_data: Path, tmp_path: Path
) -> None:
    recipe = repository / "mobilesam" / "training" / "recipes" / "demo.toml"
    data = load_config(recipe, TrainConfig).data
    assert data.held_out is not None
    names = set(read_names(data.held_out))
    assert names <= {path.name for path in (shared_data / "masked" / "images").iterdir()}
    library = load_library(data, with_regions=False, cache=tmp_path)
    assert not names & {photo.path.name for photo in library.scenes.photos}
    assert len(library.masked) > 20
