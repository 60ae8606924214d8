"""Backends that run elsewhere, from the shell."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffatlas import backends, cli
from diffatlas.formats.hosted import backend_of
from diffatlas.library import Library
from diffatlas.registry import note_models
from tests.elsewhere import GUARDED, NAME, ElsewhereBackend

RUN = ("trace", "a red circle", "--steps", "3")


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    """Another Atlas on this machine, and a machine without a token or a cluster."""
    monkeypatch.setitem(backends._BACKENDS, "remote", ("tests.elsewhere", "ElsewhereBackend"))
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    monkeypatch.setenv("DIFFATLAS_HOSTED_LEDGER", str(tmp_path / "hosted.sqlite"))
    monkeypatch.setenv("MODAL_CONFIG_PATH", str(tmp_path / "none.toml"))
    for name in ("DIFFATLAS_REMOTE_URL", "DIFFATLAS_RAY", "MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"):
        monkeypatch.delenv(name, raising=False)
    yield Library(tmp_path / "library")
    note_models("remote", [])


def test_what_cannot_be_used_is_one_line_that_says_what_to_do(capsys: pytest.CaptureFixture[str]):
    for backend, advice in {
        "remote": "set DIFFATLAS_REMOTE_URL",
        "modal": ("MODAL_TOKEN_ID", "pip install"),
        "ray": ("DIFFATLAS_RAY", "pip install"),
    }.items():
        for command in (
            [*RUN, "--backend", backend],
            ["sweep", "a red circle", "--lane", f"backend={backend}"],
        ):
            assert cli.run(command) == 2
            said = capsys.readouterr().err
            # The first import of torch in a process may warn on stderr, which `main` keeps quiet and `run` does not.
            (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
            assert "Traceback" not in said
            assert any(words in line for words in ([advice] if isinstance(advice, str) else advice))
    assert cli.run(["backends"]) == 0
    rows = csv.DictReader(io.StringIO(capsys.readouterr().out), delimiter="\t")
    usable = {row["Backend"]: row["Usable"].partition(":")[0] for row in rows}
    assert {name: usable[name] for name in ("local", "remote", "modal", "ray")} == {
        "local": "yes", "remote": "no", "modal": "no", "ray": "no",
    }  # fmt: skip


def test_a_run_and_a_study_are_made_there_by_its_own_first_values(
    library: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DIFFATLAS_REMOTE_URL", "http://127.0.0.1:1")
    ElsewhereBackend.asked.clear()
    monkeypatch.setattr(ElsewhereBackend, "open", [])
    assert cli.run([*RUN, "--backend", "remote"]) == 0
    run = library.open(Path(capsys.readouterr().out.strip()).name)
    assert backend_of(run.provenance) == "remote"
    assert run.params.guidance_scale == 4.0
    assert cli.run(["neighbourhood", "a red circle", "--steps", "3", "--k", "2", "--backend", "remote"]) == 0
    # Noise mixed in, which no provider takes.
    assert any(cell.noise is not None for asked in ElsewhereBackend.asked for cell in asked.cells)
    capsys.readouterr()
    assert cli.run(["models", "--backend", "remote"]) == 0
    assert NAME in capsys.readouterr().out
    assert cli.run(["backends", "check", "remote"]) == 0
    assert capsys.readouterr().out.startswith("Another Atlas answers")
    assert not ElsewhereBackend.open, "each command closes what it has opened"


def test_a_token_that_it_wants_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("tests.elsewhere.ElsewhereBackend.__init__.__defaults__", (GUARDED, None))
    monkeypatch.setenv("DIFFATLAS_REMOTE_URL", GUARDED)
    assert cli.run(["backends", "check", "remote"]) == 2
    assert "asks for a token" in capsys.readouterr().err
