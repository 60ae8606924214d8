"""The shell does not run twice what the library has."""

import pytest

from diffatlas import cli
from diffatlas.library import Library


@pytest.fixture(autouse=True)
def library(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))


def trace(*more):
    return cli.run(["trace", "a red circle", "--steps", "2", "--device", "cpu", *more])


def test_a_run_of_the_library_is_given_again(tmp_path, capsys):
    assert trace() == 0
    first = capsys.readouterr()
    assert "From the library" not in first.err
    assert trace() == 0
    second = capsys.readouterr()
    assert second.out == first.out
    assert "From the library; --again runs it anew." in second.err
    assert len(Library().list()) == 1

    assert trace("--again") == 0
    assert capsys.readouterr().out not in ("", first.out)
    assert len(Library().list()) == 2
    # A folder of its own is always written by a run.
    assert trace("--out", str(tmp_path / "run")) == 0
    assert "From the library" not in capsys.readouterr().err
