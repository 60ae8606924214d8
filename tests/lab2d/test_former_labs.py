"""Labs of every version that was released are read by this one; those of a later one are told apart."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from diffatlas import cli
from diffatlas.errors import InvalidParams, NewerVersion
from diffatlas.lab2d import Target, Trainer, states
from diffatlas.lab2d.shelf import Shelf
from tests.lab2d.write_samples import SAMPLES, told

VERSIONS = sorted(path.name for path in SAMPLES.iterdir())


def same(trainer: Trainer, wanted: dict) -> None:
    found = told(trainer)
    np.testing.assert_allclose(found.pop("sample"), wanted["sample"], rtol=1e-3, atol=1e-4)
    assert found == {name: wanted[name] for name in found}
    assert np.isfinite(trainer.losses).all()
    # It goes on where it was.
    trainer.run(2)
    assert trainer.step == wanted["step"] + 2


@pytest.mark.parametrize("version", VERSIONS)
def test_a_saved_lab_opens_again(version) -> None:
    held = json.loads((SAMPLES / version / "held.json").read_text(encoding="utf-8"))
    trainer, view = states.read(SAMPLES / version / "lab.json")
    assert view == held["view"]
    same(trainer, held["network"])


@pytest.mark.parametrize("version", VERSIONS)
def test_what_was_kept_is_found_again(version, tmp_path) -> None:
    held = json.loads((SAMPLES / version / "held.json").read_text(encoding="utf-8"))
    shelf = Shelf(Path(shutil.copytree(SAMPLES / version / "shelf", tmp_path / "shelf")))
    assert {kept.kind for kept in shelf.list()} == {"network", "drawing"}
    kept, trainer = shelf.open(held["network"]["kept"]["id"])
    assert asdict(kept) == held["network"]["kept"]
    same(trainer, held["network"])
    kept, target = shelf.open(held["drawing"]["kept"]["id"])
    assert isinstance(target, Target)
    assert asdict(kept) == held["drawing"]["kept"]
    assert states.target_json(target) == held["drawing"]["target"]


@pytest.fixture
def shelf(tmp_path) -> Shelf:
    return Shelf(Path(shutil.copytree(SAMPLES / VERSIONS[-1] / "shelf", tmp_path / "shelf")))


def test_what_a_later_version_kept_is_listed_with_the_reason(shelf) -> None:
    network = next(kept for kept in shelf.list() if kept.kind == "network")
    path = shelf.folder / f"{network.id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2, "recipe": "another"}))
    with pytest.raises(
        NewerVersion, match=r"This kept lab is of format 2, and .* format 1: update diffatlas"
    ):
        shelf.open(network.id)
    problems = {kept.kind: kept.problem for kept in shelf.list()}
    assert set(problems) == {"damaged", "drawing"}
    assert "update diffatlas" in problems["damaged"]
    before = path.read_bytes()
    with pytest.raises(NewerVersion):
        shelf.rename(network.id, "Mine")
    assert path.read_bytes() == before


@pytest.mark.parametrize("version", [None, "1", 0, True])
def test_what_is_no_version_is_damage(shelf, version) -> None:
    kept = shelf.list()[0]
    path = shelf.folder / f"{kept.id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))
    with pytest.raises(InvalidParams, match="no version of it"):
        shelf.get(kept.id)


def test_the_shell_refuses_a_lab_of_a_later_version(tmp_path, capsys) -> None:
    lab = tmp_path / "lab.json"
    lab.write_text(
        json.dumps({**json.loads((SAMPLES / VERSIONS[-1] / "lab.json").read_text()), "version": 3})
    )
    assert cli.run(["lab", "measure", str(lab)]) == 2
    assert "This lab is of format 3" in capsys.readouterr().err
