"""``diffatlas export --format``, ``validate`` and ``import``, as a shell would call them."""

from __future__ import annotations

import json

import pytest

from diffatlas.cli import run as shell
from diffatlas.library import Library
from tests.attended_runs import run_of
from tests.formats.source.web import web


@pytest.fixture
def library(tmp_path, monkeypatch) -> Library:
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    library = Library(tmp_path / "library")
    library.save(run_of(0))
    library.save(run_of(1))
    return library


def ids(library):
    return sorted(info.id for info in library.list())


@pytest.mark.parametrize(("kind", "holds", "named"), [("html", "two runs", 2), ("gif", "one run", 1)])
def test_more_runs_than_a_file_holds_are_told_in_one_sentence(library, tmp_path, capsys, kind, holds, named):
    library.save(run_of(2))
    three = ids(library)
    assert shell(["export", *three, "--to", str(tmp_path / f"out.{kind}")]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert f"{kind.upper()} shows {holds}" in told
    # What it says can be typed as it stands.
    assert f"`diffatlas export {' '.join(three[:named])} --format {kind}`" in told
    assert not (tmp_path / f"out.{kind}").exists()


def test_a_static_folder_is_planned_written_checked_and_imported(library, tmp_path, capsys):
    (first, _), folder = ids(library), tmp_path / "out"
    assert shell(["export", first, "--format", "static", "--to", str(folder), "--dry-run"]) == 0
    planned = capsys.readouterr().out
    assert not folder.exists()
    assert shell(["export", first, "--format", "static", "--to", str(folder)]) == 0
    assert capsys.readouterr().out == planned + f"{folder}\n"
    total = planned.strip().splitlines()[-1].split("\t")
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert total == ["total", str(len(files)), f"{sum(p.stat().st_size for p in files):,}"]

    assert shell(["validate", str(folder), "--strict"]) == 0
    assert capsys.readouterr().out.startswith("valid: 6 maps")
    assert shell(["import", str(folder)]) == 0
    (run_id,) = capsys.readouterr().out.split()
    assert library.open(run_id).info.attention == "cross"
    assert shell(["import", str(folder)]) == 0
    assert "already" in capsys.readouterr().err

    (folder / "images/step_000.png").unlink()
    assert shell(["validate", str(folder)]) == 1
    assert "step_000.png" in capsys.readouterr().out


def test_bare_nan_is_told_and_counts_when_strict(library, tmp_path, capsys):
    folder = tmp_path / "out"
    shell(["export", ids(library)[0], "--format", "static", "--to", str(folder)])
    path = folder / "metrics.json"
    path.write_text(path.read_text().replace("null", "NaN", 1))
    capsys.readouterr()
    assert shell(["validate", str(folder)]) == 0
    told = capsys.readouterr().out
    assert "holds bare NaN in 1 place, which is no JSON" in told
    assert "not known (allowed unless strict)" in told
    assert shell(["validate", str(folder), "--strict"]) == 1


def test_a_budget_warns_or_is_enforced(library, tmp_path, capsys):
    folder, call = tmp_path / "out", ["export", ids(library)[0], "--format", "static", "--max-mb", "0.01"]
    assert shell([*call, "--to", str(folder), "--enforce"]) == 2
    assert "over the limit" in capsys.readouterr().err
    assert not folder.exists()
    assert shell([*call, "--to", str(folder)]) == 0
    assert "over the limit" in capsys.readouterr().err
    assert folder.exists()


def test_without_a_name_it_is_written_where_one_is(library, tmp_path, monkeypatch, capsys):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    first = ids(library)[0]
    for kind, name in (
        ("html", "diffatlas-a-red-circle-and-a-blue-square.html"),
        ("static", f"diffatlas-{first}"),
    ):
        assert shell(["export", first, "--format", kind]) == 0
        assert capsys.readouterr().out.strip().endswith(name)
        assert (here / name).exists()
        assert shell(["export", first, "--format", kind]) == 2
        assert "--overwrite" in capsys.readouterr().err


def test_any_format_can_be_named(library, tmp_path, capsys):
    assert shell(["export", *ids(library), "--format", "html", "--to", str(tmp_path / "page")]) == 0
    assert (tmp_path / "page").read_bytes().startswith(b"<!doctype html>")
    assert shell(["export", ids(library)[0], "--format", "json", "--to", str(tmp_path / "table.txt")]) == 0
    assert json.loads((tmp_path / "table.txt").read_text())["layers"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--format", "doc", "--to", "x"], "no format 'doc'"),
        (["--to", "x.csv", "--max-layers", "2"], "--format static"),
        (["--to", "x.csv", "--dry-run"], "--format static"),
        (["--format", "static", "--to", "x", "--dtype", "float32"], "--allow-float32"),
        (["--to", "x.csv", "--allow-float32"], "--format static"),
        (["--format", "static", "--to", "x", "--dtype", "int8"], "float16"),
        (["--format", "static", "--to", "x", "--layers", "nothing"], "There are:"),
        (["--format", "static", "--to", "/"], "root"),
        ([], "--to"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_code_2(library, tmp_path, monkeypatch, capsys, arguments, told):
    monkeypatch.chdir(tmp_path)
    assert shell(["export", ids(library)[0], *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == [tmp_path / "library"]


def test_several_runs_and_other_folders_are_refused(library, tmp_path, capsys):
    assert shell(["export", *ids(library), "--format", "static", "--to", str(tmp_path / "x")]) == 2
    assert "one run, not 2" in capsys.readouterr().err
    for command in ("validate", "import"):
        assert shell([command, str(tmp_path / "absent")]) == 2
        assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_zip_and_an_address_are_imported(library, tmp_path, capsys):
    run_id = Library().list()[0].id
    assert shell(["export", run_id, "--to", str(tmp_path / "runs.zip")]) == 0
    with web() as server:
        server.files["/runs.zip"] = (tmp_path / "runs.zip").read_bytes()
        assert shell(["import", f"{server.url}/runs.zip"]) == 0
        assert run_id in capsys.readouterr().out
        assert shell(["import", f"{server.url}/none.zip"]) == 2
        said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0
    assert "none.zip cannot be fetched: there is nothing at it" in said


def test_a_site_is_written_into_a_folder(library, tmp_path, capsys):
    assert shell(["export", *ids(library), "--format", "site", "--to", str(tmp_path / "site")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'site'}\n"
    assert {p.name for p in (tmp_path / "site").iterdir()} == {
        "index.html",
        "_headers",
        ".nojekyll",
        "README.md",
    }
    assert shell(["export", *ids(library), "--format", "site", "--to", str(tmp_path / "site")]) == 2
    assert "--overwrite" in capsys.readouterr().err
