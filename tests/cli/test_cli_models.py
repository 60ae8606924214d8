"""``diffatlas models``: showing, adding and removing, as a shell sees it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diffatlas import cli
from diffatlas.registry import list_models, own_models
from tests.model_hub import serve

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / "models" / "shapes"


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DIFFATLAS_USER_MODELS", str(tmp_path / "models.md"))
    monkeypatch.setenv("DIFFATLAS_DEVICE", "cpu")
    return tmp_path / "models.md"


def said(capsys, *arguments):
    code = cli.run(["models", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


def test_showing_a_model_says_what_it_is(capsys):
    code, out, err = said(capsys, "show", "shapes")
    assert (code, err) == (0, [])
    assert out[0] == ("Shapes (embedded) is a StableDiffusionPipeline with a native size of 64 × 64 pixels.")
    assert any("22 MB of memory in fp32" in line for line in out)


def test_how_it_is_put_on_the_device_is_kept_and_said(capsys, own):
    told = ["--offload", "group", "--vae", "slicing,tiling", "--compile", "blocks"]
    code, out, err = said(capsys, "add", SHAPES.parent / "shapes-dit", *told)
    assert (code, err) == (0, [])
    assert own_models()[0].vae == "tiling,slicing"
    for lines in (out, said(capsys, "show", SHAPES.parent / "shapes-dit")[1]):
        words = " ".join(lines)
        assert "Its VAE works on large pictures in tiles and works on one picture at a time." in words
        assert "the first run takes a minute or more longer" in words
        assert "offload=group has no effect" in words
    code, _, err = said(capsys, "add", SHAPES, "--compile", "fast")
    assert (code, len(err)) == (2, 1)
    assert "'compile=fast' is not one of blocks, default" in err[0]


def test_a_folder_is_added_listed_run_and_removed(capsys, own, tmp_path, monkeypatch):
    (tmp_path / "my models").mkdir()
    folder = tmp_path / "my models" / "round"
    folder.symlink_to(SHAPES)
    monkeypatch.chdir(tmp_path)
    before = list_models()
    code, out, err = said(capsys, "add", "my models/round", "--name", "Round things", "--steps", 3)
    kept = str(SHAPES)
    assert (code, err, out[-1]) == (0, [], f"Added: {kept}")
    entry = own_models()[0]
    assert (entry.id, entry.name, entry.steps, entry.size) == (kept, "Round things", 3, 64)
    code, out, _ = said(capsys)
    assert code == 0
    assert "Your own." in " ".join(out)
    out_folder = tmp_path / "run"
    assert cli.run(["trace", "a red circle", "--model", "my models/round", "--out", str(out_folder)]) == 0
    manifest = json.loads((out_folder / "manifest.json").read_text())
    assert manifest["params"]["num_inference_steps"] == 3
    capsys.readouterr()
    code, out, _ = said(capsys, "remove", "my models/round")
    assert (code, out) == (0, [f"Removed: {kept}"])
    assert list_models() == before
    assert SHAPES.is_dir()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "shape"], "did you mean 'shapes'"),
        (["show", "some-body/their-model"], "HF_HUB_OFFLINE is set"),
        (["add", "some-body/their-model"], "HF_HUB_OFFLINE is set"),
        (["add", "shapes"], "listed already"),
        (["add", SHAPES.parent], "not a diffusers pipeline"),
        (["add", SHAPES, "--dtype", "int8"], "dtype=int8"),
        (["add", SHAPES, "--name", "a|b"], "cannot be kept"),
        (["add", SHAPES, "--size", "0"], "--size"),
        (["add", SHAPES, "--revision", "main"], "no revision"),
        (["remove", "shapes"], "cannot be removed"),
        (["remove", "nobodys"], "not in your own list"),
        (["shwo"], "shwo"),
    ],
)
def test_an_error_is_one_line_and_nothing_is_kept(capsys, own, monkeypatch, arguments, words):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    code, out, err = said(capsys, *arguments)
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("error: ")
    assert words in err[0]
    assert not own.exists()


def test_offline_says_that_nobody_was_asked(capsys, own):
    code, out, _ = said(capsys, "add", "some-body/their-model", "--offline", "--size", 512)
    assert code == 0
    assert len(out) == 1
    assert "without asking the Hub" in out[0]
    assert (own_models()[0].id, own_models()[0].name, own_models()[0].size) == (
        "some-body/their-model", "their-model", 512,
    )  # fmt: skip


def test_a_model_of_the_hub_is_added_after_it_is_looked_up(own, tmp_path):
    """In a process of its own: the Hub's client reads its address once."""
    with serve() as hub:
        hub.add("some-body/their-model", SHAPES, cardData={"license": "mit"})
        variables = {
            "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0",
            "DIFFATLAS_USER_MODELS": str(own),
        }  # fmt: skip

        def shell(*arguments):
            command = [sys.executable, "-m", "diffatlas", "models", *arguments]
            return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True)

        done = shell("add", "some-body/their-model")
        assert (done.returncode, done.stderr) == (0, "")
        assert "have to be downloaded from the Hub first" in done.stdout
        assert "Its licence is mit." in done.stdout
        entry = own_models()[0]
        assert (entry.id, entry.name, entry.size) == ("some-body/their-model", "their-model", 64)
        assert hub.sent(".safetensors") <= 3 * 100_001
        done = shell("add", "some-body/another")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert "has no model 'some-body/another'" in done.stderr
        assert len(own_models()) == 1
