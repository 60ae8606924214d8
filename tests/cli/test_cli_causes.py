"""The shell names the cause: of a library that cannot be one, a token that is none, a model that lacks a part."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from diffatlas import cli
from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.settings import check_hub_token

MODEL = Path(__file__).parents[2] / "models" / "shapes"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must fail; return its one line on stderr."""

    def told(*words: str, **environment: str) -> str:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capfd.readouterr()
        assert cli.run(list(words)) == 2
        said = capfd.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1
        return said

    return told


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("file", "it is a file"),
        ("long", "its name is too long"),
        ("broken link", "it is a link to what is not there"),
        ("loop", "it is a link that leads back to itself"),
        ("below a file", "a part of its path is no folder"),
    ],
)
def test_a_library_that_can_be_none(kind: str, reason: str, tmp_path: Path, told: Callable[..., str]) -> None:
    path = tmp_path / "library"
    if kind in ("file", "below a file"):
        path.write_text("x")
    elif kind == "broken link":
        path.symlink_to(tmp_path / "gone")
    elif kind == "loop":
        path.symlink_to(path)
    asked = {"long": tmp_path / ("x" * 300), "below a file": path / "runs"}.get(kind, path)
    line = told("runs", DIFFATLAS_LIBRARY=str(asked))
    assert reason in line
    assert "DIFFATLAS_LIBRARY" in line


def test_a_library_with_a_character_that_no_name_has() -> None:
    with pytest.raises(InvalidParams, match="holds a character"):
        Library("a\0b").list()


@pytest.mark.parametrize("token", ["hf_a\nb", "hf_ключ", "hf a", "hf_\x7f"])
def test_a_token_that_is_none(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(InvalidParams, match="HF_TOKEN is no token") as caught:
        check_hub_token()
    assert token not in caught.value.message
    monkeypatch.setenv("HF_TOKEN", " hf_abc\n")
    check_hub_token()


def test_the_shell_says_that_a_token_is_none(tmp_path: Path, told: Callable[..., str]) -> None:
    told_of = {"DIFFATLAS_LIBRARY": str(tmp_path), "HF_TOKEN": "hf_ключ"}
    assert "HF_TOKEN is no token" in told("trace", "a cat", "--model", "nobody/nothing", **told_of)


@pytest.mark.parametrize("kind", ["tokenizer", "empty", "cut"])
def test_a_model_that_lacks_a_part(kind: str, tmp_path: Path, told: Callable[..., str]) -> None:
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    weights = next((model / "unet").glob("*.safetensors"))
    if kind == "tokenizer":
        shutil.rmtree(model / "tokenizer")
    elif kind == "empty":
        weights.write_bytes(b"")
    else:
        weights.write_bytes(weights.read_bytes()[:-100])
    line = told(
        "trace",
        "a red circle",
        "--model",
        str(model),
        "--steps",
        "2",
        DIFFATLAS_LIBRARY=str(tmp_path / "runs"),
    )
    expected = {
        "tokenizer": "lacks the files of its tokenizer",
        "empty": "it is empty",
        "cut": "it is cut short",
    }[kind]
    assert expected in line
    assert "fetch" in line
