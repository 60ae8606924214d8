"""What the Dockerfile names is there: its engine is not at hand in the tests."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from diffatlas.cli import app
from diffatlas.settings import Settings

ROOT = Path(__file__).parents[1]
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text()).splitlines()


def told(instruction: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(instruction + " ")]


def test_what_it_copies_is_there_and_not_left_out():
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for line in told("COPY") for source in line.split()[:-1]}
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)


def test_its_variables_are_settings():
    names = re.findall(r"DIFFATLAS_(\w+)=", " ".join(told("ENV")))
    assert names
    assert {name.lower() for name in names} <= set(Settings.model_fields)


def test_its_command_is_one_of_the_shell():
    (command,) = told("CMD")
    words = re.findall(r'"([^"]+)"', command)
    assert told("ENTRYPOINT") == ['["diffatlas"]']
    assert CliRunner().invoke(app, [*words, "--help"]).exit_code == 0
