"""The notebooks of the docs run from their first cell to their last, and give what they say."""

import json
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
NOTEBOOKS = sorted(DOCS.glob("*.ipynb"))


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


@pytest.fixture
def away(tmp_path, monkeypatch) -> Path:
    """A folder of its own, with a library in it."""
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["figures", "own-pipeline"]


def test_figures(away):
    names = run(DOCS / "figures.ipynb")
    for shown in ("run", "study"):
        assert names[shown]._repr_html_().startswith("<div")
    assert {name: names[name].layout.meta["figure"] for name in ("curves", "words", "drift")} == {
        "curves": "curves",
        "words": "attention_words",
        "drift": "drift",
    }
    assert [line.name for line in names["curves"].data if line.showlegend] == [
        "a red circle to the left of a blue square, guidance 5",
        "a red circle to the left of a blue square, guidance 7.5",
    ]
    page = (away / "charts.html").read_text(encoding="utf-8")
    assert page.count("Plotly.newPlot(") == 2


def test_own_pipeline(away):
    names = run(DOCS / "own-pipeline.ipynb")
    assert names["again"].cached_from == names["first"].id
    assert names["report"].verdict == "identical"
    assert names["report"].same_pipeline
    page = (away / "circle-and-square.html").read_text(encoding="utf-8")
    assert "a red circle and a blue square" in page
    assert {info.model for info in names["library"].list()} == {"my fine-tune"}
