"""What the shell says of workshops, accounts and addresses before and after the app is served."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from diffatlas.cli import pages, run
from diffatlas.errors import BackendFailure
from diffatlas.ui.invitation import Invitation
from tests.serving import ROOT

HERE = Invitation("http://192.168.1.20:7860/", "Whoever is on the same network.")
NOBODY = Invitation("", "Only this machine reaches 127.0.0.1.")


def test_a_workshop_is_checked_and_told(capsys):
    assert run(["workshop", "check", str(ROOT / "docs" / "workshop.yaml")]) == 0
    assert "Models: shapes, on this machine alone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["workshop", "check", "none.yaml"], "There is no file none.yaml."),
        (["app", "--workshop", "none.yaml"], "There is no file none.yaml."),
        (["app", "--mode", "public"], "There is no mode 'public': give shared or personal."),
        (["app", "--auth", "anna:planted"], "--auth takes the name of a file"),
        (["app", "--address", "atlas"], "The address 'atlas' is none"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_served(arguments, said, capsys, monkeypatch, tmp_path):
    # Options of the app go into its environment.
    for name in ("MODE", "WORKSHOP", "ADDRESS"):
        monkeypatch.setenv(f"DIFFATLAS_{name}", "auto" if name == "MODE" else "")
        monkeypatch.delenv(f"DIFFATLAS_{name}")
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {said}")
    assert told.count("\n") == 1
    assert "planted" not in told


def test_an_address_that_others_reach_is_shown_with_its_code(capsys):
    pages._invite(HERE, shared=False, signed_in=False)
    told = capsys.readouterr()
    for shown in (HERE.address, "█", "--auth"):
        assert shown in told.out
    assert "--mode shared" in told.err
    pages._invite(NOBODY, shared=True, signed_in=True)
    assert capsys.readouterr().out == f"{NOBODY.words}\n"


def test_a_link_that_could_not_be_made_ends_the_app_only_where_nobody_else_reaches_it(capsys):
    closed = []
    served = SimpleNamespace(close=lambda verbose: closed.append(verbose))
    pages._no_link(HERE, served)
    assert "warning: No share link" in capsys.readouterr().err
    assert not closed
    with pytest.raises(BackendFailure, match=r"--host 0\.0\.0\.0"):
        pages._no_link(NOBODY, served)
    assert closed == [False]
