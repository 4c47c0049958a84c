"""What commands are given by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.commands.given import token_of


def test_a_token_comes_from_the_environment_else_from_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "token"
    file.write_text("of the file\n", encoding="utf-8")
    monkeypatch.setenv("HEARDBACK_TOKEN", "of the environment")
    assert token_of(file) == "of the environment"
    monkeypatch.setenv("HEARDBACK_TOKEN", "")
    assert token_of(file) == "of the file"
    assert token_of(None) == "", "refused, rather than none at all"
    monkeypatch.delenv("HEARDBACK_TOKEN")
    assert (token_of(file), token_of(None)) == ("of the file", None)
