"""The 2D Lab in the shell."""

import csv
import json
from dataclasses import asdict

import numpy as np
import pytest

from diffatlas import cli, lab2d
from diffatlas.lab2d import states


def run(*words: str) -> int:
    return cli.run(["lab", *words])


def test_a_lab_is_trained_sampled_and_measured(tmp_path, capsys):
    lab, samples = tmp_path / "lab.json", tmp_path / "samples.csv"
    assert run("train", "moons", "--steps", "200", "--width", "32", "--seed", "4", "--out", str(lab)) == 0
    head, row = capsys.readouterr().out.splitlines()[-2:]
    assert head.split("\t")[:2] == ["Loss", "Floor"]
    trainer = states.read(lab)[0]
    assert (trainer.step, trainer.recipe.width, trainer.recipe.seed) == (200, 32, 4)
    assert float(row.split("\t")[0]) == pytest.approx(np.mean(trainer.losses), abs=1e-4)

    assert (
        run("sample", str(lab), "--n", "50", "--sampler", "ddim", "--steps", "10", "--to", str(samples)) == 0
    )
    rows = list(csv.DictReader(samples.open()))
    plan = lab2d.Plan("ddim", 10)
    want, labels = lab2d.generate(trainer.learned(), trainer.target, plan, trainer.schedule, n=50)
    np.testing.assert_allclose([[float(r["x"]), float(r["y"])] for r in rows], want, rtol=1e-5)
    assert [r["class"] for r in rows] == [trainer.target.classes[k] for k in labels]
    told = rows[0]
    recipe = {name: str(value) for name, value in asdict(trainer.recipe).items()}
    assert {name: told[f"training_{name}"] for name in recipe} == recipe
    assert (told["lab_target"], told["trained_steps"]) == ("moons", "200")
    assert (told["asked_sampler"], told["asked_steps"], told["asked_seed"]) == ("ddim", "10", "0")
    units = dict(entry.split("=") for entry in told["units"].split("; "))
    assert units["x"] == units["y"] == "units of the plane"
    # The table is a target again.
    points, _, classes = lab2d.read_table(samples.read_text())
    assert points.shape == (50, 2)
    assert set(classes) <= set(trainer.target.classes)

    capsys.readouterr()
    assert (
        run("measure", str(lab), "--n", "100", "--repeats", "1", "--steps", "8", "--field", "exact", "--json")
        == 0
    )
    found = json.loads(capsys.readouterr().out)
    assert [(point["sampler"], point["steps"]) for point in found] == [("floor", 0)] * 3 + [("heun", 8)]
    assert (found[0]["training_width"], found[0]["asked_n"], found[0]["asked_field"]) == (32, 100, "exact")
    assert (found[0]["units"]["excess_nll"], found[0]["units"]["w2"]) == ("nats", "units of the plane")


def test_a_table_is_trained_on(tmp_path, capsys):
    table, lab = tmp_path / "points.csv", tmp_path / "lab.json"
    table.write_text("x,y,kind\n" + "".join(f"{k % 7},{k % 5},{'ab'[k % 2]}\n" for k in range(70)))
    assert run("train", str(table), "--steps", "100", "--width", "16", "--out", str(lab)) == 0
    assert states.read(lab)[0].target.classes == ("a", "b")


def test_a_table_of_a_spreadsheet_is_trained_on(tmp_path):
    lines = ["x\ty\tkind", *(f"{k % 7},5\t{k % 5}\t{'ab'[k % 2]}" for k in range(70))]
    for name, encoding in (("wide.txt", "utf-16"), ("marked.csv", "utf-8-sig")):
        (tmp_path / name).write_text("\r\n".join(lines), encoding=encoding)
        lab = tmp_path / f"{name}.json"
        assert run("train", str(tmp_path / name), "--steps", "100", "--width", "16", "--out", str(lab)) == 0
        assert states.read(lab)[0].target.classes == ("a", "b")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train", "nowhere", "--out", "x.json"), "There is no target 'nowhere'"),
        (("train", "missing.csv", "--out", "x.json"), "cannot be read as a table"),
        (("train", "moons", "--steps", "5", "--out", "x.json"), "steps is a whole number from 100"),
        (("sample", "missing.json", "--to", "x.csv"), "missing.json cannot be read"),
        (("sample", "moons", "--sampler", "rk4", "--to", "x.csv"), "There is no sampler 'rk4'"),
        (("sample", "moons", "--field", "true", "--to", "x.csv"), "The field is learned or exact"),
        (("measure", "moons", "--n", "3"), "n is at least 50"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1
    assert says in errors[0]
    assert not list(tmp_path.iterdir())


def test_what_is_above_the_bound_is_refused_unless_it_is_asked_for_anyway(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DIFFATLAS_MOST_SECONDS", "0.001")
    sample = ("sample", "moons", "--n", "200", "--steps", "4", "--to", str(tmp_path / "x.csv"))
    train = ("train", "moons", "--steps", "100", "--width", "16", "--out", str(tmp_path / "x.json"))
    for words in (sample, train):
        assert run(*words) == 2
        errors = capsys.readouterr().err.strip().splitlines()
        assert len(errors) == 1
        assert errors[0].endswith("or add --anyway.")
        assert run(*words, "--anyway") == 0
        capsys.readouterr()
