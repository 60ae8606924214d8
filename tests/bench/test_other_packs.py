"""Prompt sets of others, read from files in their form."""

import json

import pytest

from diffatlas.bench.packs.files import pack_text, parse_pack
from diffatlas.bench.packs.others import is_geneval2, read_compbench, read_geneval2
from diffatlas.errors import InvalidParams, Unreadable

#: The example of GenEval 2's own page.
ROW = {
    "prompt": "four white bicycles in front of three plastic cows",
    "atom_count": 7,
    "vqa_list": [
        ["How many bicycles are in the image?", "four"],
        ["Are the bicycles white?", "Yes"],
        ["Are the bicycles in front of the cows?", "Yes"],
    ],
    "skills": ["count", "attribute", "position"],
}


def file(folder, rows, name="geneval2_data.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_geneval_2_is_questions_with_skills_by_the_number_of_atoms(tmp_path):
    path = file(tmp_path, [ROW, {**ROW, "prompt": "a cow", "atom_count": 3}])
    assert is_geneval2(path)
    pack = read_geneval2(path)
    assert pack.tags == ("7 atoms", "3 atoms")
    assert [[question.text, question.expected] for question in pack.tasks[0].questions] == ROW["vqa_list"]
    assert [question.skill for question in pack.tasks[0].questions] == ROW["skills"]
    assert parse_pack(pack_text(pack)) == pack


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prompt": 3}, "prompt is missing or no text"),
        ({"atom_count": "7"}, "atom_count is missing or no whole number"),
        ({"vqa_list": []}, "vqa_list is missing"),
        ({"skills": ["count"]}, "skills does not have one for each of the 3 questions"),
        ({"vqa_list": [["Is it?"], *ROW["vqa_list"][1:]]}, r"vqa_list\[0\] is not a question"),
        ({"vqa_list": [["Is it?", 1], *ROW["vqa_list"][1:]]}, r"vqa_list\[0\] is not a question"),
    ],
)
def test_what_is_wrong_in_it_is_said_with_its_line(tmp_path, change, words):
    with pytest.raises(InvalidParams, match=f"line 2: {words}"):
        read_geneval2(file(tmp_path, [ROW, {**ROW, **change}]))


def test_compbench_is_a_prompt_a_line_by_the_name_of_the_file(tmp_path):
    for name, text in (
        ("color_val.txt", "a green bench\n\na  red car \na green bench\n"),
        ("spatial_val.txt", "a dog"),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    pack = read_compbench([tmp_path / "color_val.txt", tmp_path / "spatial_val.txt"])
    told = [(task.tag, task.prompt, task.kind) for task in pack.tasks]
    assert told == [
        ("color", "a green bench", "free"),
        ("color", "a red car", "free"),
        ("spatial", "a dog", "free"),
    ]
    assert parse_pack(pack_text(pack)) == pack


def test_a_prompt_that_no_pack_may_have_is_said_with_its_line(tmp_path):
    (tmp_path / "color_val.txt").write_text("a dog\n" + "x" * 4001, encoding="utf-8")
    with pytest.raises(InvalidParams, match="line 2: a prompt has 4000 characters at most"):
        read_compbench([tmp_path / "color_val.txt"])


def test_an_empty_file_is_none(tmp_path):
    for name in ("empty.txt", "empty.jsonl"):
        (tmp_path / name).write_text("\n", encoding="utf-8")
    with pytest.raises(Unreadable, match="empty"):
        read_compbench([tmp_path / "empty.txt"])
    with pytest.raises(Unreadable, match="empty"):
        is_geneval2(tmp_path / "empty.jsonl")
    with pytest.raises(Unreadable, match="line 1"):
        read_geneval2(file(tmp_path, [[1]]))
