"""The Bench from a shell: packs, images scored, verdicts counted and compared."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from diffatlas.bench.bench import Mark
from diffatlas.bench.judgements import Card, Judgement
from diffatlas.bench.kept import Benches
from diffatlas.bench.session import ask
from diffatlas.bench.why import MEASURES
from diffatlas.cli.program import app
from tests import copied
from tests.bench import judges
from tests.bench.drawn_folder import drawn_folder

ROOT = Path(__file__).parents[2]


def run(*words, code=0):
    """Return what a command prints; it has to end with the code."""
    result = CliRunner().invoke(app, ["bench", *map(str, words)])
    assert result.exit_code == code or (code == 2 and result.exception is not None), result.output
    return result.stdout if code == 0 else str(result.exception)


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


def test_a_pack_that_is_written_is_as_its_schema_says(tmp_path):
    schema = json.loads(run("schema"))
    run("pack", "lite", "--to", tmp_path / "lite.json")
    pack = json.loads((tmp_path / "lite.json").read_text())
    jsonschema.validate(pack, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**pack, "tasks": []}, schema)


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
    assert "There is no scorer 'eye'" in run("score", folder, "--scorer", "eye", code=2)


@pytest.fixture(scope="module")
def geneval2(tmp_path_factory):
    """A pack of GenEval 2's form, and a map of images of its prompts as GenEval 2's program reads it."""
    from PIL import Image

    root = tmp_path_factory.mktemp("geneval2")
    data, told = [], {}
    for number, prompt in enumerate(("two cows", "a {} dog")):
        asked = [["How many are there?", "two"], ["Are there any?", "Yes"]][number:]
        skills = ["count", "object"][number:]
        data.append({"prompt": prompt, "atom_count": 3, "vqa_list": asked, "skills": skills})
        Image.new("RGB", (64, 48), (200 * number, 90, 30)).save(root / f"{number}.png")
        told[prompt] = f"{number}.png"
    (root / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    (root / "images.json").write_text(json.dumps(told))
    return root


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """The name of a scorer that asks questions."""
    from tests.bench.scorers.small_models import save_small

    return f"questions:{save_small('smolvlm', tmp_path_factory.mktemp('judge') / 'm')}"


def test_images_of_a_map_are_asked_and_the_answers_written_as_geneval_2_s(geneval2, judge, tmp_path):
    asked = ("--pack", geneval2 / "data.jsonl")
    lists = tmp_path / "score_lists.json"
    shown = rows(run("score", geneval2 / "images.json", *asked, "--scorer", judge, "--to", lists))
    scores = json.loads(lists.read_text())
    # A list for each prompt in the order of the data, a probability for each question: what GenEval 2's analysis reads.
    assert [len(one) for one in scores] == [2, 1]
    assert all(0 < one < 1 for each in scores for one in each)
    mean = (sum(scores[0]) / 2 + scores[1][0]) / 2
    assert shown["3 atoms"]["Correct"] == f"{mean:.3f}"
    assert rows(run("count", lists, *asked)) == shown
    assert rows(run("compare", lists, lists, *asked))["all prompts"]["Second minus first"] == "+0.000"
    # Scores are kept beside verdicts in the other form, too.
    run("score", geneval2 / "images.json", *asked, "--scorer", judge, "--to", tmp_path / "r.jsonl")
    assert rows(run("count", tmp_path / "r.jsonl")) == shown
    found = json.loads(run("score", geneval2 / "images.json", *asked, "--scorer", judge, "--json"))
    assert found["scorer"]["settings"] == {"mean": "arithmetic", "dependencies": "cascading"}
    how = ("--mean", "geometric", "--template", "Look: {}")
    found = json.loads(run("score", geneval2 / "images.json", *asked, "--scorer", judge, *how, "--json"))
    assert found["scorer"]["settings"]["mean"] == "geometric"
    assert found["scorer"]["template"] == "Look: {}"


def test_a_folder_of_tiif_is_a_pack(tmp_path):
    row = {"type": "style", "short_description": "a cat", "long_description": "a cat of ink"}
    (tmp_path / "style_prompts.jsonl").write_text(json.dumps(row))
    assert [one["Category"] for one in rows(run("pack", tmp_path)).values()] == [
        "style, short",
        "style, long",
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("score", "images.json"), "name the pack of its prompts by --pack"),
        (("score", "none.json", "--pack", "data.jsonl"), "There is no file none.json"),
        (("score", ".", "--pack", "data.jsonl"), "--pack belongs to a map of images"),
        (("score", "odd.json", "--pack", "data.jsonl"), "'three cows' is no prompt of the pack geneval2"),
        (("score", "lost.json", "--pack", "data.jsonl"), "the image 'gone.png' of 'two cows' is not there"),
        (("score", "lost.json", "--pack", "lite"), "the image 'gone.png' of 'two cows' is not there"),
        (
            ("score", "images.json", "--pack", "data.jsonl", "--to", "l.json"),
            "judge an image of each by a scorer",
        ),
        (("count", "images.json"), "name their pack by --pack"),
        (("count", "images.json", "--pack", "data.jsonl"), "is no list of lists of scores"),
        (("count", "few.json", "--pack", "data.jsonl"), "has 1 lists, and geneval2 2 tasks"),
        (("count", "more.json", "--pack", "data.jsonl"), "list 1: 2 scores for the 1 questions"),
        (("count", "far.json", "--pack", "data.jsonl"), "list 0: 1.5 is no probability"),
    ],
)
def test_a_map_or_scores_that_do_not_fit_are_said_in_a_sentence(geneval2, monkeypatch, words, said):
    monkeypatch.chdir(geneval2)
    for name, value in (
        ("odd", {"three cows": "0.png"}),
        ("lost", {"two cows": ["0.png", "gone.png"]}),
        ("few", [[0.5, 0.5]]),
        ("more", [[0.5, 0.5], [0.5, 0.5]]),
        ("far", [[1.5, 0.5], [0.5]]),
    ):
        (geneval2 / f"{name}.json").write_text(json.dumps(value))
    assert said in run(*words, code=2)


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


@pytest.fixture
def marks(folder, tmp_path):
    """Results of the drawn folder, and marks by hand that differ from them on one image."""
    run("score", folder, "--to", tmp_path / "a.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    lines[0]["correct"] = not lines[0]["correct"]
    # In another order, so that images are paired by what they are.
    (tmp_path / "b.jsonl").write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    table = ["prompt,number,verdict"]
    for line in lines:
        number = int(line["filename"].rsplit("/", 1)[1].removesuffix(".png"))
        table.append(f'"{line["prompt"]}",{number},{"pass" if line["correct"] else "fail"}')
    (tmp_path / "hand.csv").write_text("\n".join(table) + "\n")
    return tmp_path


def test_scorers_are_held_against_each_other_and_against_people(marks):
    found = json.loads(
        run("agree", marks / "a.jsonl", marks / "b.jsonl", "--hand", marks / "hand.csv", "--json")
    )
    raw = {one["name"]: one["overall"]["agreement"]["raw"] for one in found}
    assert raw == {"a and b": 47 / 48, "a and hand": 47 / 48, "b and hand": 1}
    head, *lines = [
        line.split("\t") for line in run("agree", marks / "a.jsonl", marks / "b.jsonl").splitlines()
    ]
    shown = {line[1]: dict(zip(head, line, strict=True)) for line in lines}
    assert [*shown] == ["binding", "position", "all images"]
    assert shown["position"]["Raw"] == shown["position"]["Kappa"] == "1.000"
    assert "to" in shown["binding"]["95% interval"]


def test_a_scorer_is_put_to_the_test_by_marks(marks):
    words = ("audit", "--results", marks / "a.jsonl", "--marks", marks / "hand.csv")
    audit, corrected = run(*words).split("\n\n")
    shown = rows(audit)
    # The mark that was turned: the scorer passed an image that is wrong by hand.
    assert shown["correct by hand"]["Judged rightly"] == "1.000"
    assert (shown["wrong by hand"]["Judged rightly"], shown["wrong by hand"]["Of"]) == ("0.923", "13")
    assert rows(corrected)["all images"]["Without its errors"] == f"{35 / 48:.3f}"
    found = json.loads(run(*words, "--json"))
    assert found["failed_of_wrong"] == [12, 13]
    assert [one["tag"] for one in found["corrected"]] == ["binding", "position", "all images"]


def test_rates_by_what_is_demanded(marks):
    shown = rows(run("count", marks / "a.jsonl", "--by", "atoms"))
    assert sum(int(row["Images"]) for row in shown.values()) == 48
    assert all(name.isdigit() for name in shown)
    assert json.loads(run("count", marks / "a.jsonl", "--by", "atoms", "--json"))[0]["rate"]["images"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pack", "shape"), "Did you mean shapes?"),
        (("pack", "none.yaml"), "There is no file none.yaml"),
        (("pack", "shapes", "--to", "x.txt"), "written as .yaml, .json or .jsonl"),
        (("pack", "shapes", "--to", "there.yaml"), "is there already"),
        (("pack", "shapes-hard", "--to", "x.jsonl"), "which GenEval's files cannot say"),
        (("pack", "there.yaml"), "there.yaml, line 1: naem means nothing here"),
        (("pack", "there.yaml", "--each", "3"), "Prompts of each category are drawn"),
        (("score", "."), "no images in GenEval's layout"),
        (("audit", "--each", 1), "give two or more"),
        (("audit", "--scorer", "eye"), "There is no scorer 'eye'"),
        (("count", "none.jsonl"), "There is no file none.jsonl"),
        (("count", "there.yaml"), "line 1: this is no JSON object"),
        (("count", "r.jsonl", "--level", "95"), "give one between 0 and 1"),
        (("count", "r.jsonl", "--by", "size"), "--by is category or atoms"),
        (("count", "r.jsonl", "--by", "atoms"), "say of no prompt what it demands"),
        (("agree", "r.jsonl"), "give the verdicts of two at least"),
        (("agree", "r.jsonl", "r.jsonl"), "r.jsonl is named twice"),
        (("agree", "r.jsonl", "none.jsonl"), "There is no file none.jsonl"),
        (("agree", "r.jsonl", "--hand", "there.yaml"), "no column 'prompt'"),
        (("audit", "--results", "r.jsonl"), "takes --marks"),
        (("audit", "--marks", "r.jsonl"), "name these with --results"),
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


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path / "library"))


SMALL = ("--pack", "shapes", "--each", 1, "--seeds", 2, "--steps", 2, "--device", "cpu")


def test_a_pack_is_made_judged_kept_and_marked(library, tmp_path):
    shown = rows(run(*SMALL, "--scorer", "shapes"))
    assert shown["two"]["Images"] == "2"
    (listed,) = rows(run("list")).items()
    name = listed[0]
    assert (listed[1]["Status"], listed[1]["Images"]) == ("complete", "12/12")
    assert rows(run("show", name)) == shown == rows(run("count", name))
    # A mark counts in place of the verdict, and the verdict is still there.
    told = json.loads(run("show", name, "--json"))["verdicts"][0]
    other = "fail" if told["verdict"] == "pass" else "pass"
    run("mark", name, "a-0-0", other, "--note", "I looked.")
    marked = json.loads(run("show", name, "--json"))["verdicts"][0]
    assert (marked["verdict"], marked["reasons"]) == (other, ["I looked."])
    assert json.loads(run("show", name, "--without-marks", "--json"))["verdicts"][0] == told
    by_hand = rows(run("show", name, "--scorer", "hand"))
    assert by_hand["mean of categories"]["Not judged"] == "11"
    run("mark", name, "a-0-0", "none")
    assert rows(run("judge", name, "--scorer", "shapes", "--again")) == shown
    reasons = rows(run("why", name))
    assert set(reasons) == {one.name for one in MEASURES}
    assert json.loads(run("why", name, "--json"))["prompts"] == 6
    _, freed = run("audit", "--scorer", "shapes", "--each", 2, "--rates", name).split("\n\n")
    assert {tag: row["By the scorer"] for tag, row in rows(freed).items() if tag != "all images"} == {
        tag: row["Correct"] for tag, row in shown.items() if tag != "mean of categories"
    }
    # Compared with itself nothing differs.
    assert {row["Differ"] for row in rows(run("compare", name, f"{name}@a")).values()} == {"0"}


def test_a_bench_of_two_lanes_is_counted_lane_by_lane(library):
    run(*SMALL, "--lane", "model=shapes-dit")
    (name,) = rows(run("list"))
    lines = [json.loads(line) for line in run("show", name, "--json").splitlines()]
    assert [len(line["verdicts"]) for line in lines] == [12, 12]
    assert rows(run("compare", f"{name}@a", f"{name}@b"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--each", 2), "Say what to run with --pack"),
        (("--pack", "shapez"), "Did you mean shapes"),
        (("--pack", "shapes", "--seeds", 0), "number of seeds"),
        (("--pack", "shapes", "--keep", "all"), "keeps paths, attention or pictures"),
        (("show", "nothing"), "has no bench 'nothing'"),
        (("mark", "nothing", "a-0-0", "yes"), "pass, fail, cannot-judge or none"),
        (("judge", "nothing", "--scorer", "shapes"), "has no bench"),
        (("count", "nothing"), "has no bench"),
    ],
)
def test_a_bench_that_cannot_be_is_refused_in_a_sentence(library, words, sentence):
    assert sentence in run(*words, code=2)


@pytest.fixture
def judged(library, tmp_path):
    """The id of a bench that is judged by two and marked by hand, of which no image is at hand."""
    made = ask("smoke", seeds=2, scorers=["shapes"])
    benches, keys = Benches(tmp_path / "library"), [cell.key for cell in made.study.cells]
    cells = tuple(replace(cell, status="complete", image=True) for cell in made.study.cells)
    benches.save(replace(made.study, status="complete", cells=cells))
    for scorer, wrong in (("shapes", 0), ("other", 1)):
        benches.judge_with(made.id, scorer, Card(scorer, "Looks."))
        benches.say(
            made.id, scorer, {key: Judgement("fail" if k <= wrong else "pass") for k, key in enumerate(keys)}
        )
    for key, verdict in zip(keys[:3], ("fail", "fail", "pass"), strict=True):
        benches.mark(made.id, key, Mark(verdict))
    return made.id


def test_all_that_judged_a_bench_are_held_against_each_other(judged):
    found = {one["name"]: one["overall"] for one in json.loads(run("agree", judged, "--json"))}
    images = len(json.loads(run("count", judged, "--json"))["verdicts"])
    assert [*found] == ["shapes and other", "shapes and hand", "other and hand"]
    assert found["shapes and other"]["agreement"]["raw"] == pytest.approx(1 - 1 / images)
    assert (found["shapes and hand"]["agreement"]["images"], found["other and hand"]["agreement"]["raw"]) == (
        3,
        1,
    )
    assert json.loads(run("agree", f"{judged}@a", "--json"))[0]["overall"] == found["shapes and other"]
    assert "has no lane 'z'" in run("agree", f"{judged}@z", code=2)


def test_a_scorer_of_a_bench_is_put_to_the_test_by_its_own_marks(judged):
    audit = json.loads(run("audit", "--results", judged, "--json"))
    assert (audit["passed_of_correct"], audit["failed_of_wrong"]) == ([1, 1], [1, 2])
    audit = json.loads(run("audit", "--results", judged, "--scorer", "other", "--json"))
    assert audit["failed_of_wrong"] == [2, 2]


def test_ctrl_c_keeps_the_images_that_are_made(library, tmp_path):
    child = copied.start(
        *("-m", "diffatlas.cli", "bench", "--pack", "smoke", "--seeds", "2", "--steps", "120", "--exact"),
        *("--device", "cpu", "--scorer", "shapes", "--anyway"),
        folder=ROOT,
        environment=os.environ,
        out=tmp_path / "out",
        errors=tmp_path / "errors",
    )
    first = Benches(tmp_path / "library").folder

    def one_is_made():
        return any('"complete"' in path.read_text() for path in first.glob("*/cells.jsonl"))

    while child.is_alive() and not one_is_made():
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGINT)
    child.join(60)
    errors = (tmp_path / "errors").read_text()
    assert child.exitcode == 130, errors
    assert "Traceback" not in errors
    (info,) = Benches(tmp_path / "library").list()
    assert info.status == "stopped"
    assert 1 <= info.done < 4
    assert f"diffatlas bench resume {info.id}" in errors


def test_a_bench_is_exported_and_scored_from_its_files(library, tmp_path):
    shown = rows(run(*SMALL, "--scorer", "shapes"))
    (name,) = rows(run("list"))
    out = tmp_path / "out"
    run("export", name, "--to", out)
    assert sorted(path.name.partition("seeds")[2] for path in out.iterdir()) == [
        "-rates.csv",
        ".csv",
        ".json",
        ".pdf",
    ]
    assert "is there already" in run("export", name, "--to", out, code=2)
    run("export", name, "--to", out, "--format", "geneval")
    assert "not empty" in run("export", name, "--to", out, "--format", "geneval", code=2)
    # The same images with the same demands: as many are right.
    scored = rows(run("score", out / "geneval", "--scorer", "shapes"))
    assert {tag: row["Correct"] for tag, row in scored.items()} == {
        tag: row["Correct"] for tag, row in shown.items()
    }
