"""The notebooks of the docs run from their first cell to their last, and give what they say."""

import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs").glob("*.ipynb"))


def run(path: Path) -> dict:
    """Run the code of a notebook, cell by cell, and return its names."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict = {"__name__": "__main__"}
    for number, cell in enumerate(notebook["cells"]):
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "outputs are of one machine: leave them out"
            exec(compile("".join(cell["source"]), f"{path.name}, cell {number}", "exec"), names)
    return names


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["own-pipeline"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_it_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    monkeypatch.chdir(tmp_path)
    names = run(path)
    assert names["again"].cached_from == names["first"].id
    assert names["report"].verdict == "identical"
    assert names["report"].same_pipeline
    page = (tmp_path / "circle-and-square.html").read_text(encoding="utf-8")
    assert "a red circle and a blue square" in page
    assert {info.model for info in names["library"].list()} == {"my fine-tune"}
