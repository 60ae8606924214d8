"""Runs and studies of every version that was released are read by this one; those of a later one are told apart."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import diffatlas
from diffatlas import cli
from diffatlas.errors import DamagedRun, NewerVersion
from diffatlas.formats.kinds import KINDS, export
from diffatlas.formats.named import Named
from diffatlas.library import Library
from diffatlas.library.attended import attention_of
from tests.library.made_runs import made
from tests.library.test_studies import small
from tests.library.write_samples import SAMPLES, plain, told

VERSIONS = sorted(path.name for path in SAMPLES.iterdir())


@pytest.fixture(params=VERSIONS)
def former(request, tmp_path) -> tuple[Library, dict]:
    """The library of a version, as a copy that may be written to, and what was in memory when it was written."""
    folder = tmp_path / "library"
    shutil.copytree(SAMPLES / request.param / "library", folder)
    held = json.loads((SAMPLES / request.param / "held.json").read_text(encoding="utf-8"))
    return Library(folder), held


def test_every_run_comes_back_whole(former) -> None:
    library, held = former
    assert {info.id for info in library.list()} == set(held["runs"])
    assert "attended" in {run["what"] for run in held["runs"].values()}
    for run_id, wanted in held["runs"].items():
        assert library.check(run_id).status == wanted["status"], wanted["what"]
        found = json.loads(json.dumps(told(library.load(run_id))))
        for name, array in found["arrays"].items():
            assert np.isfinite(array["most"]), (wanted["what"], name)
        assert {"what": wanted["what"], **found} == wanted


def test_marks_and_studies_come_back(former) -> None:
    library, held = former
    for run_id, marks in held["marks"].items():
        info = library.open(run_id).info
        found = {"name": info.name, "tags": list(info.tags), "note": info.note, "locked": info.locked}
        assert found == marks
    assert {info.id for info in library.studies.list()} == set(held["studies"])
    for study_id, wanted in held["studies"].items():
        study = library.studies.open(study_id)
        assert json.loads(json.dumps(plain(study))) == wanted
        for cell in study.cells:
            assert library.open(cell.run_id).images()[0].shape == (32, 32, 3)
    assert {(s["operation"], s["spec"].get("mode")) for s in held["studies"].values()} == {
        ("sweep", None), ("neighbourhood", "perturb"), ("neighbourhood", "slerp"), ("neighbourhood", "offset"),
    }  # fmt: skip


def test_attention_is_measured_as_today(former) -> None:
    library, held = former
    (run_id,) = (run_id for run_id, run in held["runs"].items() if run["what"] == "attended")
    attention = attention_of(library.open(run_id))
    assert [token.text for token in attention.tokens[1:4]] == ["a", "red", "circle"]
    assert np.isfinite(attention.entropy()).all()
    assert np.isfinite(attention.entropy("self")).all()


@pytest.mark.parametrize("kind", ["csv", "json", "npz", "html", "pdf", "zip"])
def test_every_run_is_exported_as_one_of_today(former, kind) -> None:
    library, held = former
    for run_id, run in held["runs"].items():
        assert export(kind, [Named(run["what"], library.load(run_id))])
    assert kind in KINDS


def later(path: Path, **changes) -> None:
    """Write a stored JSON again as a later version might have."""
    data = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**data, "format": 2, **changes}), encoding="utf-8")


def test_a_run_of_a_later_version_is_refused_in_one_sentence(tmp_path, monkeypatch, capsys) -> None:
    library = Library(tmp_path)
    old, new = library.save(made(1)), library.save(made(2))
    later(tmp_path / new / "manifest.json", provenance={"versions": {"diffatlas": "7.8.9"}}, steps="many")
    told = (
        f"The run in {new} is of format 2 (written by diffatlas 7.8.9), and diffatlas {diffatlas.__version__} reads "
        "format 1: update diffatlas (pip install --upgrade diffatlas)."
    )
    for read in (library.load, library.open, lambda run_id: diffatlas.open_run(tmp_path / run_id)):
        with pytest.raises(NewerVersion) as error:
            read(new)
        assert str(error.value) == told
    infos = {info.id: info for info in library.list()}
    assert infos[old].status == "complete"
    assert (infos[new].status, infos[new].error) == ("damaged", told)
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path))
    for command in (["export", new, "--format", "csv"], ["compare", old, new], ["attention", new]):
        assert cli.run(command) == 2
        assert capsys.readouterr().err == f"error: {told}\n"
    assert cli.run(["runs"]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("version", [None, "1", 0, -1, 1.0, True, [1]])
def test_what_is_no_version_is_damage(tmp_path, version) -> None:
    run_id = Library(tmp_path).save(made(1))
    later(tmp_path / run_id / "manifest.json", format=version)
    with pytest.raises(DamagedRun, match="no version of it") as error:
        Library(tmp_path).open(run_id)
    assert not isinstance(error.value, NewerVersion)


def test_a_study_of_a_later_version_is_refused_in_one_sentence(tmp_path) -> None:
    library = Library(tmp_path)
    library.studies.save(small(1))
    library.studies.save(small(2))
    later(library.studies.folder / small(2).id / "study.json", lanes={})
    with pytest.raises(
        NewerVersion, match=r"The study in \S+ is of format 2, and .* format 1: update diffatlas"
    ):
        library.studies.open(small(2).id)
    assert [(info.id, info.status) for info in library.studies.list()] == [
        (small(1).id, "complete"),
        (small(2).id, "damaged"),
    ]
    assert "update diffatlas" in library.studies.list()[1].error


def test_marks_of_a_later_version_stay_and_keep_the_run(tmp_path) -> None:
    library = Library(tmp_path)
    run_id = library.save(made(1))
    library.mark(run_id, name="First", tags=["a"])
    path = tmp_path / run_id / "marks.json"
    later(path, name={"en": "First"})
    before = path.read_bytes()
    library.refresh()
    info = library.open(run_id).info
    assert info.locked
    assert "of format 2" in info.error
    assert "update diffatlas" in info.error
    with pytest.raises(NewerVersion):
        library.mark(run_id, name="Second")
    assert path.read_bytes() == before
