"""Marks by hand read from a table, from results, and from GenEval's annotations."""

import csv
import json

import pytest

from diffatlas.bench.bench import Mark
from diffatlas.bench.judgements import Card
from diffatlas.bench.packs.hand_marks import read_hand_marks
from diffatlas.bench.scored import judged_results
from diffatlas.bench.tasks import Include
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.formats.bench_kinds import export_bench
from diffatlas.formats.bench_report import BenchReport, ReportedLane
from tests.bench.test_geneval_marks import COLUMNS, seen
from tests.figures.made_benches import bench


def table(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read_with_and_without_numbers(tmp_path):
    rows = "number,prompt,verdict,category\n3,\"a, b\",pass,x\n0,'=sum,FAIL,\n1,'quoted',,x\n2,p,cannot judge,x\n"
    found, people = read_hand_marks(table(tmp_path / "m.csv", rows))
    assert [(one.task.prompt, one.number, one.judgement.verdict, one.task.tag) for one in found] == [
        ("a, b", 3, "pass", "x"),
        ("=sum", 0, "fail", "marked"),
        ("p", 2, "cannot judge", "x"),
    ]
    assert people == []
    found, _ = read_hand_marks(table(tmp_path / "n.csv", "prompt,verdict\np,1\nq,0\np,false\n"))
    assert [(one.task.prompt, one.number, one.judgement.verdict) for one in found] == [
        ("p", 0, "pass"),
        ("q", 0, "fail"),
        ("p", 1, "fail"),
    ]


def test_of_an_exported_bench_the_marks_are_read_and_not_the_scorer_s_verdicts(tmp_path):
    judged = bench({"a": ["pf", "pp"], "b": ["ff"]})
    marks = {(judged[0].task.id, 0): Mark("fail"), (judged[5].task.id, 1): Mark("pass", "I looked.")}
    lane = ReportedLane("x", judged, marks=marks)
    data = export_bench("csv", BenchReport("t", "p", (lane,), Card("eye", "")))
    (tmp_path / "m.csv").write_bytes(data)
    found, _ = read_hand_marks(tmp_path / "m.csv")
    assert [(one.task.prompt, one.number, one.judgement.verdict, one.task.tag) for one in found] == [
        (judged[0].task.prompt, 0, "fail", "a"),
        (judged[5].task.prompt, 1, "pass", "b"),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prompt,said\np,pass\n", "no column 'verdict'"),
        ("prompt,verdict\np,pass\nq,good\n", "line 3: the verdict is 'good'"),
        ("prompt,verdict\n,pass\n", "line 2: the prompt is missing"),
        ("prompt,verdict,number\np,pass,-1\n", "line 2: the number is '-1'"),
        ("prompt,verdict\np,\n", "has no marks"),
        ("prompt,verdict,override\np,pass,\n", "its column 'override' is empty"),
        ("prompt,verdict,override,lane\np,pass,fail,a\np,pass,fail,b\n", "marks of 2 lanes"),
        ("Input.prompt_id\n0\n", "Name it by --metadata"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path, text, said):
    with pytest.raises(Unreadable, match=said):
        read_hand_marks(table(tmp_path / "m.csv", text))


def test_numbers_are_given_to_all_or_none(tmp_path):
    with pytest.raises(InvalidParams, match="number all images, or none"):
        read_hand_marks(table(tmp_path / "m.csv", "prompt,verdict,number\np,1,0\np,1,\n"))


def test_of_geneval_s_annotations_the_majority_counts(tmp_path):
    metadata = {"tag": "single_object", "include": [{"class": "car", "count": 1}], "prompt": "a car"}
    (tmp_path / "evaluation_metadata.jsonl").write_text(json.dumps(metadata) + "\n")
    with open(tmp_path / "a.csv", "w", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS)
        rows.writeheader()
        for count in ("1", "1", "0"):
            where = {"HITId": "h", "Input.prompt_id": "0", "Input.image_id": "2", "Input.caption": "a car"}
            rows.writerow({**where, **seen([count])})
    (one,), people = read_hand_marks(tmp_path / "a.csv")
    assert (one.number, one.judgement.verdict, one.task.tag) == (2, "pass", "single_object")
    assert people[0].passed == (True, True, False)
    moved = (tmp_path / "evaluation_metadata.jsonl").rename(tmp_path / "elsewhere.jsonl")
    assert read_hand_marks(tmp_path / "a.csv", moved)[0] == [one]


def test_results_have_the_numbers_of_their_files_and_the_demands_of_their_metadata(tmp_path):
    def row(name, prompt, **metadata):
        said = {"filename": name, "tag": "t", "prompt": prompt, "correct": True, "reason": ""}
        return json.dumps({**said, "metadata": json.dumps(metadata)}) + "\n"

    path = tmp_path / "r.jsonl"
    path.write_text(
        row("x/0003.png", "p", include=[{"class": "dog", "count": 2}])
        + row("x/0001.png", "p", include=[{"class": "dog", "count": 99}])
        + row("y/0003.png", "q")
    )
    first, second, third = judged_results(path)
    assert [one.number for one in (first, second, third)] == [3, 1, 3]
    assert first.task.include == (Include(noun="dog", count=2),)
    assert (second.task.kind, third.task.kind) == ("free", "free")
    path.write_text(row("x/0003.png", "p") + row("x/dog.png", "p"))
    assert [one.number for one in judged_results(path)] == [0, 1]
    path.write_text(row("x/0003.png", "p") + row("y/0003.png", "p"))
    assert [one.number for one in judged_results(path)] == [0, 1]
