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
