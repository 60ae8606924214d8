"""What the shell prints of a run's attention, against the stored maps in plain numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from diffatlas import cli
from diffatlas.capture.spec import Capture
from diffatlas.library import Library, StoredRun
from diffatlas.operations.trace import trace
from diffatlas.params import GenerationParams
from diffatlas.shapes.detect import detect

STEPS = 6
ASKED = GenerationParams(prompt="a green star and a red circle", seed=6, num_inference_steps=STEPS)
TWICE = ASKED.replace(prompt="a red circle and a red square")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """A library's folder, and the ids of its runs by what was captured."""
    folder = tmp_path_factory.mktemp("runs")
    library = Library(folder)
    asked = {
        "all": (ASKED, Capture(attention="all")),
        "off": (ASKED.replace(seed=7), Capture()),
        "self": (ASKED.replace(seed=8), Capture(attention="self", attention_every=3)),
        "twice": (TWICE, Capture(attention="cross", attention_halves="both")),
    }
    return folder, {name: trace(*each, library=library).id for name, each in asked.items()}


@pytest.fixture
def printed(runs, monkeypatch, capsys):
    """A function that returns the printed columns by their heads."""
    folder, ids = runs
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(folder))

    def printed(name: str, *more: str) -> dict[str, list[str]]:
        assert cli.run(["attention", ids[name], *more]) == 0
        head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
        return dict(zip(head, zip(*rows, strict=True), strict=True))

    return printed


def stored_maps(stored: StoredRun, key: str) -> np.ndarray:
    """The maps of one layer by step, (S, tokens, h, w), float64."""
    return np.stack([stored.attention(k)[key][0] for k in range(STEPS)]).astype(np.float64)


def numbers(cells: tuple[str, ...]) -> list[float]:
    return [float(cell) for cell in cells]


def test_it_prints_the_measures_of_the_stored_maps(runs, printed) -> None:
    stored = Library(runs[0]).open(runs[1]["all"])
    described = stored.provenance["attention"]
    finest = max(
        (layer for layer in described["layers"] if layer["kind"] == "cross"),
        key=lambda layer: layer["grid"],
    )
    maps = stored_maps(stored, f"cross:{finest['name']}")
    tokens = [t["index"] for t in described["text"] if t["word_text"] == "red"]
    found = printed("all", "--layers", finest["name"], "--word", "red", "--word", "circle", "--word", "and")

    assert found["Step"] == tuple(str(step) for step in range(1, STEPS + 1))
    p = np.maximum(maps, 1e-8) / np.maximum(maps, 1e-8).sum(1, keepdims=True)
    assert numbers(found["Entropy"]) == pytest.approx(-(p * np.log(p)).sum(1).mean((1, 2)), rel=1e-4)
    assert found["KL"][0] == ""
    kl = (p[1:] * np.log(p[1:] / p[:-1])).sum(1).mean((1, 2))
    assert numbers(found["KL"][1:]) == pytest.approx(kl, rel=1e-4)
    assert set(found["Spike"]) <= {"", "spike"}
    assert numbers(found["red"]) == pytest.approx(maps[:, tokens].mean((1, 2, 3)), rel=1e-4)

    image = stored.images()[0]
    (red,) = [d for d in detect(image) if d.color == "red"]
    left, top, right, bottom = red.box
    inside = np.zeros(image.shape[:2])
    inside[top:bottom, left:right] = 1
    rows, columns = finest["grid"]
    # The share of each cell that the box covers.
    inside = inside.reshape(rows, 64 // rows, columns, 64 // columns).mean((1, 3))
    word = maps[:, tokens].mean(1)
    assert numbers(found["red share"]) == pytest.approx(
        (word * inside).sum((1, 2)) / word.sum((1, 2)), rel=1e-4
    )
    assert numbers(found["red uniform"]) == pytest.approx([inside.mean()] * STEPS, rel=1e-4)
    # What names no object has no box.
    assert "circle share" in found
    assert "and" in found
    assert "and share" not in found


def test_all_layers_are_averaged_and_places_have_their_own_entropy(runs, printed) -> None:
    stored = Library(runs[0]).open(runs[1]["all"])
    layers = stored.provenance["attention"]["layers"]
    found = printed("all")
    assert list(found) == ["Step", "Entropy", "KL", "Spike", "Self-entropy"]
    single = [printed("all", "--layers", f"cross:{x['name']}") for x in layers if x["kind"] == "cross"]
    mean = np.mean([numbers(one["Entropy"]) for one in single], axis=0)
    assert numbers(found["Entropy"]) == pytest.approx(mean, rel=1e-4)

    places = printed("self")
    assert list(places) == ["Step", "Self-entropy"]
    assert places["Step"] == ("1", "4", "6")


def test_a_word_that_is_there_twice_is_printed_twice_and_each_half_is_its_own(printed) -> None:
    found = printed("twice", "--word", "red", "--word", "Red Square")
    assert {"red (1)", "red (2)", "Red Square"} < set(found)
    assert "red" not in found
    assert found["red (1)"] != found["red (2)"]
    other = printed("twice", "--half", "uncond")
    assert other["Entropy"] != found["Entropy"]


@pytest.mark.parametrize(
    ("name", "more", "says"),
    [
        ("off", [], "holds no attention"),
        ("all", ["--word", "blue"], "Its words are: a, green, star, and, a, red, circle"),
        ("all", ["--layers", "sideways"], "There are: "),
        ("all", ["--half", "uncond"], "attention_halves='both'"),
        ("twice", ["--half", "uncond", "--word", "red"], "no words at all"),
        ("all", ["--half", "left"], "'cond' or 'uncond'"),
        ("all", ["--image", "1"], "no image 1"),
        ("self", ["--word", "red"], "no cross-attention"),
    ],
)
def test_what_is_not_there_is_one_line(runs, monkeypatch, capsys, name, more, says) -> None:
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(runs[0]))
    assert cli.run(["attention", runs[1][name], *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert says in err


def test_the_table_is_written_with_units_and_what_was_asked(
    runs, printed, monkeypatch, tmp_path, capsys
) -> None:
    pandas = pytest.importorskip("pandas")
    printed_columns = printed("all", "--word", "red")
    to = tmp_path / "new" / "a.csv"
    run_id = runs[1]["all"]
    assert cli.run(["attention", run_id, "--word", "red", "--to", str(to)]) == 0
    assert capsys.readouterr().out == f"{to}\n"
    frame = pandas.read_csv(to)
    assert frame["step"].tolist() == list(range(1, STEPS + 1))
    named = {
        "Entropy": "entropy",
        "Self-entropy": "self_entropy",
        "red": "activation of red",
        "red share": "share of red",
    }
    for head, name in named.items():
        np.testing.assert_allclose(frame[name], numbers(printed_columns[head]), rtol=1e-5)
    assert (frame["run"][0], frame["image"][0], frame["half"][0], frame["layers"][0]) == (
        run_id,
        0,
        "cond",
        "all",
    )
    assert (frame["prompt"][0], frame["seed"][0]) == (ASKED.prompt, ASKED.seed)
    units = dict(entry.split("=") for entry in frame["units"][0].split("; "))
    assert (units["entropy"], units["reallocation"], units["activation of red"]) == ("nats", "nats", "none")
    assert cli.run(["attention", run_id, "--to", str(to)]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert cli.run(["attention", run_id, "--to", str(to), "--overwrite"]) == 0
    assert cli.run(["attention", run_id, "--to", "a.doc"]) == 2
    assert ".csv, .json or .npz" in capsys.readouterr().err


def test_json_and_npz_hold_what_is_looked_at(runs, monkeypatch, tmp_path, capsys) -> None:
    folder, ids = runs
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(folder))
    stored = Library(folder).open(ids["twice"])
    asked = ["attention", ids["twice"], "--layers", "mid", "--half", "uncond"]
    assert cli.run([*asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert cli.run([*asked, "--to", str(tmp_path / "a.npz")]) == 0
    assert cli.run([*asked, "--to", str(tmp_path / "a.json")]) == 0
    assert json.loads((tmp_path / "a.json").read_text()) == found
    assert (found["half"], found["image"], found["steps"]) == ("uncond", 0, list(range(1, STEPS + 1)))
    assert found["run"]["params"] == stored.params.to_dict()
    (name,) = found["words_in"]
    maps = np.stack([stored.attention(k)[f"cross:{name}"][1, 0] for k in range(STEPS)])
    np.testing.assert_allclose(
        found["activation"], maps.astype(np.float64).mean((2, 3)), rtol=1e-4, atol=1e-6
    )
    with np.load(tmp_path / "a.npz", allow_pickle=False) as data:
        assert data["layers"].tolist() == [f"cross/{name}"]
        assert np.array_equal(data[f"cross/{name}"], maps.astype(np.float32))
        assert data["steps"].tolist() == data[f"steps/cross/{name}"].tolist() == found["steps"]
        assert data["words"].tolist() == [token["text"] for token in found["tokens"]]
        assert json.loads(str(data["manifest"]))["half"] == "uncond"
