"""Optional components are found without importing them."""

from __future__ import annotations

from pathlib import Path

import pytest

from segdino_deploy.errors import MissingComponent
from segdino_deploy.requirements import has_module, require_module


def test_a_folder_that_holds_type_stubs_only_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what the package tensorrt-stubs installs as `tensorrt`
    (tmp_path / "stubbed_module").mkdir()
    (tmp_path / "stubbed_module" / "__init__.pyi").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    assert not has_module("stubbed_module")
    with pytest.raises(MissingComponent, match="stubbed_module is not installed"):
        require_module("stubbed_module", "it", extra="x")
    assert has_module("sys") and has_module("numpy")
