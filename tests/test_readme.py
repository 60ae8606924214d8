"""What the README tells a newcomer is true: its Python runs, its commands and links exist."""

import re
from pathlib import Path

from typer.testing import CliRunner

from diffatlas import Library
from diffatlas.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def test_the_python_examples_run(shapes_pipe, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    monkeypatch.chdir(tmp_path)
    names = {"pipe": shapes_pipe}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["image"].size == (64, 64)
    assert len(names["trace"].steps) == 30
    assert names["run"].status == "complete"
    assert (tmp_path / "circle.html").is_file()
    kept = {info.id: info.status for info in Library(tmp_path / "library").list()}
    assert len(kept) == 2  # what was recorded, and what was saved
    assert kept[names["run"].id] == "complete"


def test_its_commands_exist():
    lines = [
        line.split()[1] for block in blocks("bash") for line in block.splitlines() if "diffatlas " in line
    ]
    assert lines == ["trace", "models", "app"]
    for command in lines:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_links_between_the_pages_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        assert targets or page.name != "README.md"
        for target in targets:
            path = target.partition("#")[0]
            if path and not re.match(r"[a-z]+:", path):
                assert (page.parent / path).exists(), (page.name, target)


def test_it_leads_to_every_page():
    linked = set(re.findall(r"\]\((docs/[^)]+\.md)\)", README))
    assert linked == {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}


def test_there_are_exactly_two_set_up_commands():
    assert [line for line in README.splitlines() if line.startswith("pip install")] == [
        "pip install -c constraints.txt -e . && python app.py",
        'pip install -c constraints.txt -e ".[test]" && pytest -n 2',
    ]
