"""Every operation on the embedded transformer, as it is shipped, through the shell."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from diffatlas import cli, observe
from diffatlas.guidance import METHODS
from diffatlas.library import Library
from diffatlas.registry import models_folder
from diffatlas.shapes.model import build_pipeline, load_parts

PROMPT = "a red circle and a blue square"
ASKED = ("--model", "shapes-dit", "--device", "cpu", "--steps", "4", "--seed", "7")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The library's folder and the id of a run with attention."""
    folder = tmp_path_factory.mktemp("library")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFATLAS_LIBRARY", str(folder))
        assert cli.run(["trace", PROMPT, *ASKED, "--attention", "all", "--previews", "2"]) == 0
    return folder, Library(folder).list()[0].id


@pytest.fixture
def shell(run, monkeypatch, capsys):
    """A function that runs a command on that library, and returns the table that it prints."""
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(run[0]))

    def shell(*args: str) -> list[dict[str, str]]:
        assert cli.run(list(args)) == 0, capsys.readouterr().err
        return list(csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t"))

    return shell


def test_watching_changes_nothing():
    pipe = build_pipeline(load_parts(models_folder() / "shapes-dit"))
    asked = {"num_inference_steps": 3, "guidance_scale": 3.0, "output_type": "np"}
    plain = pipe(PROMPT, generator=torch.Generator().manual_seed(7), **asked).images
    with observe(pipe) as seen:
        watched = pipe(PROMPT, generator=torch.Generator().manual_seed(7), **asked).images
    np.testing.assert_array_equal(plain, watched)
    assert len(seen.steps) == 3


def test_its_run_is_replayed_bit_by_bit(run, monkeypatch, capsys):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(run[0]))
    assert cli.run(["replay", run[1]]) == 0
    assert capsys.readouterr().out.startswith("Bit-identical: all 5 states and the image")


def test_its_words_look_at_places(run, shell):
    rows = shell("attention", run[1], "--word", "circle", "--word", "square")
    assert [row["Step"] for row in rows] == ["1", "2", "3", "4"]
    for row in rows:
        assert 0 < float(row["circle"]) < 1
        assert 0 < float(row["square"]) < 1
    assert any(row["circle"] != row["square"] for row in rows)


@pytest.mark.parametrize(
    ("field", "values"),
    [("guidance_scale", "1;5"), ("guidance_method", ";".join(METHODS)), ("num_inference_steps", "2;3")],
)
def test_its_settings_are_swept(shell, field, values):
    rows = shell("sweep", PROMPT, *ASKED, "--field", field, "--values", values)
    assert len(rows) == len(values.split(";"))
    assert all("complete" in row.values() for row in rows)


def test_its_noise_has_neighbours(shell, tmp_path):
    rows = shell(
        "neighbourhood", PROMPT, *ASKED, "--k", "3", "--radius", "0.5", "--to", str(tmp_path / "out")
    )
    assert rows
    assert list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "kind", ["csv", "json", "npz", "safetensors", "pdf", "svg", "png", "gif", "mp4", "html", "zip", "static"]
)
def test_its_run_is_exported(run, shell, tmp_path, kind):
    target = tmp_path / ("out" if kind == "static" else f"out.{kind}")
    shell("export", run[1], "--format", kind, "--to", str(target))
    files = [target] if target.is_file() else [p for p in Path(target).rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) > 500
