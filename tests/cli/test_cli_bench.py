"""The Bench from a shell: packs, images scored, verdicts counted and compared."""

import json
import os

import pytest
from typer.testing import CliRunner

from diffatlas.cli.program import app
from tests.bench import judges
from tests.bench.drawn_folder import drawn_folder


def run(*words, code=0):
    """Return what a command prints; it has to end with the code."""
    result = CliRunner().invoke(app, ["bench", *map(str, words)])
    assert result.exit_code == code or (code == 2 and result.exception is not None), result.output
    return result.output if code == 0 else str(result.exception)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench") / "images"
    drawn_folder(folder)
    return folder


def rows(text):
    head, *body = [line.split("\t") for line in text.splitlines()]
    return {line[0]: dict(zip(head, line, strict=True)) for line in body}


def test_packs_are_listed_and_one_is_written_and_read_again(tmp_path):
    assert rows(run("packs"))["shapes"]["Prompts"] == "150"
    path = tmp_path / "mine.yaml"
    assert "12 prompts in 6 categories" in run("pack", "shapes", "--each", 2, "--to", path)
    shown = rows(run("pack", path))
    assert len(shown) == 12
    run("pack", path, "--to", tmp_path / "mine.json")
    assert rows(run("pack", tmp_path / "mine.json")) == shown
    run("pack", "lite", "--to", tmp_path / "lite.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "lite.jsonl").read_text().splitlines()]
    assert {"tag", "include", "prompt"} <= set(lines[0])
    assert len(rows(run("pack", tmp_path / "lite.jsonl"))) == 12


def test_sets_of_others_are_read_by_what_is_in_them(tmp_path):
    (tmp_path / "color_val.txt").write_text("a green bench\na red car\n")
    assert {row["Category"] for row in rows(run("pack", tmp_path / "color_val.txt")).values()} == {"color"}
    row = {"prompt": "a cow", "atom_count": 3, "vqa_list": [["Is it a cow?", "Yes"]], "skills": ["object"]}
    (tmp_path / "data.jsonl").write_text(json.dumps(row))
    assert rows(run("pack", tmp_path / "data.jsonl"))["00000"]["Category"] == "3 atoms"


def test_images_are_scored_and_the_verdicts_written_as_geneval_s(folder, tmp_path):
    results = tmp_path / "results.jsonl"
    shown = rows(run("score", folder, "--to", results))
    # Three of four images are of their own scene, and that of another is wrong.
    assert {name: row["Correct"] for name, row in shown.items()} == dict.fromkeys(
        ("binding", "position", "mean of categories"), "0.750"
    )
    assert shown["binding"]["Images"] == "24"
    assert shown["binding"]["Prompts"] == "6"
    assert len(results.read_text().splitlines()) == 48
    assert rows(run("count", results)) == shown


def test_everything_is_there_as_json(folder):
    found = json.loads(run("score", folder, "--json"))
    assert found["scorer"]["name"] == "shapes"
    assert found["lines"][0]["rate"]["value"] == 0.75
    assert len(found["verdicts"]) == 48
    assert {one["verdict"] for one in found["verdicts"]} == {"pass", "fail"}
    assert all(one["reasons"] for one in found["verdicts"] if one["verdict"] == "fail")


def test_scorers_are_listed_with_their_models():
    shown = rows(run("scorers"))
    assert {"shapes", "hand", "clip:openai/clip-vit-large-patch14"} <= set(shown)
    assert shown["clip:openai/clip-vit-base-patch32"]["Download"] == "0.61 GB"
    assert all(row["Judges"] for row in shown.values())


def test_images_are_judged_by_a_model_under_a_threshold_of_one_s_own(folder, tmp_path):
    name = f"clip:{judges.clip(tmp_path / 'clip')}"
    found = json.loads(run("score", folder, "--scorer", name, "--threshold", 0.1, "--json"))
    assert (found["scorer"]["name"], found["scorer"]["settings"]) == (name, {"threshold": 0.1})
    for one in found["verdicts"]:
        assert one["verdict"] == ("pass" if one["evidence"]["cosine"] >= 0.1 else "fail")
    assert "one too many" in rows(run("audit", "--scorer", name, "--each", 2))
    assert "has no option 'threshold'" in run("score", folder, "--threshold", 0.1, code=2)
    assert "is not on this machine" in run("score", folder, "--scorer", "objects", code=2)


def test_two_models_are_compared_prompt_by_prompt(folder, tmp_path):
    run("score", folder, "--to", tmp_path / "a.jsonl")
    drawn_folder(tmp_path / "worse", right=1, wrong=3)
    run("score", tmp_path / "worse", "--to", tmp_path / "b.jsonl")
    shown = rows(run("compare", tmp_path / "a.jsonl", tmp_path / "b.jsonl"))
    assert shown["all prompts"]["Second minus first"] == "-0.500"
    assert shown["all prompts"]["Differ"] == "12"
    found = json.loads(run("compare", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--json"))
    # All twelve prompts have the same sign: two of 4,096 ways to give signs.
    assert found["all"]["p"] == pytest.approx(2 / 4096)
    assert {one["category"]: one["adjusted"] for one in found["categories"]} == {
        "binding": 4 / 64,
        "position": 4 / 64,
    }


def test_a_scorer_is_put_to_the_test():
    shown = rows(run("audit", "--each", 2))
    assert {name: row["Images"] for name, row in shown.items()}["moved"] == "2"
    assert all(row["Judged rightly"] == "1.000" for row in shown.values())
    assert json.loads(run("audit", "--each", 2, "--json"))["passed_of_correct"] == [12, 12]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pack", "shape"), "Did you mean shapes?"),
        (("pack", "none.yaml"), "There is no file none.yaml"),
        (("pack", "shapes", "--to", "x.txt"), "written as .yaml, .json or .jsonl"),
        (("pack", "shapes", "--to", "there.yaml"), "is there already"),
        (("pack", "shapes-hard", "--to", "x.jsonl"), "which GenEval's files cannot say"),
        (("pack", "there.yaml"), "there.yaml, line 1: naem means nothing here"),
        (("pack", "there.yaml", "--each", "3"), "--each draws prompts"),
        (("score", "."), "no images in GenEval's layout"),
        (("audit", "--each", 1), "give two or more"),
        (("audit", "--scorer", "eye"), "There is no scorer 'eye'"),
        (("count", "none.jsonl"), "There is no file none.jsonl"),
        (("count", "there.yaml"), "line 1: this is no JSON object"),
        (("count", "r.jsonl", "--level", "95"), "give one between 0 and 1"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path, words, said):
    (tmp_path / "there.yaml").write_text("naem: x\ntitle: y\ntasks: []\n")
    row = {"filename": "a", "tag": "t", "prompt": "p", "correct": True, "reason": ""}
    (tmp_path / "r.jsonl").write_text("".join(json.dumps({**row, "prompt": p}) + "\n" for p in "ab"))
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert said in run(*words, code=2)
    finally:
        os.chdir(before)


def test_a_picture_that_is_none_is_said_with_its_name(folder, tmp_path):
    import shutil

    copy = tmp_path / "images"
    shutil.copytree(folder, copy)
    (copy / "00000/samples/00000.png").write_bytes(b"not a picture")
    assert "00000.png cannot be read as a picture" in run("score", copy, code=2)
