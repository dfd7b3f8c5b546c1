"""The recipes in the repository's folders are valid."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.errors import InputError
from segdino_deploy.export.options import ExportOptions, parse_batch, parse_outputs, parse_size, parse_triple
from segdino_deploy.recipes import BuildRecipe, ExportRecipe, read_recipe

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("path", sorted((ROOT / "export").glob("*.toml")), ids=lambda path: path.name)
def test_export_recipes_give_valid_options(path: Path) -> None:
    recipe = read_recipe(path, ExportRecipe)
    options = ExportOptions(
        input_size=parse_size(recipe.size or "256"),
        batch=parse_batch(recipe.batch or "1"),
        outputs=parse_outputs(recipe.outputs or "mask"),
    )
    assert options.input_size[0] >= 256
    for text in (recipe.mean, recipe.std):
        assert text is None or parse_triple(path.name, text) is not None


@pytest.mark.parametrize("path", sorted((ROOT / "engines").glob("*.toml")), ids=lambda path: path.name)
def test_engine_recipes_name_known_backends(path: Path) -> None:
    from segdino_deploy.engines.build import BACKENDS

    recipe = read_recipe(path, BuildRecipe)
    assert recipe.precisions
    assert set(recipe.backends) <= BACKENDS.keys()


def test_wrong_toml_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("precisions = [")
    with pytest.raises(InputError, match=r"r\.toml: not valid TOML"):
        read_recipe(tmp_path / "r.toml", BuildRecipe)
    (tmp_path / "r.toml").write_text('precisions = ["fp8"]')
    with pytest.raises(InputError, match=r"r\.toml: precisions\.0"):
        read_recipe(tmp_path / "r.toml", BuildRecipe)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tensorrt]\nworkspace_mib = 0", "tensorrt.workspace_mib: 0 is not from 1 to 1048576"),
        ('[tensorrt]\ncompute_capabilities = ["sm90"]', "tensorrt.compute_capabilities: 'sm90' is none; such as 8.9"),
        ('[tensorrt]\nworkspace_mib = "512"', "tensorrt.workspace_mib: input should be a valid integer"),
        ("[tensorrt]\noptimization_level = true", "tensorrt.optimization_level: input should be a valid integer"),
        ('[tensorrt]\nlow_memory = "yes"', "tensorrt.low_memory: input should be a valid boolean"),
        ('calibration_images = "8"', "calibration_images: input should be a valid integer"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_file_and_key(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe(tmp_path / "r.toml", BuildRecipe)
    assert str(caught.value).startswith(f"{tmp_path / 'r.toml'}: {said}")
