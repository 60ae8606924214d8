"""Prompt sets of others, read from files in their form."""

import csv
import json

import numpy as np
import pandas
import pytest
from scipy.stats import gmean

from diffatlas.bench.packs.compbench import read_compbench
from diffatlas.bench.packs.files import pack_text, parse_pack
from diffatlas.bench.packs.geneval import Sample
from diffatlas.bench.packs.geneval2 import (
    image_map_text,
    read_geneval2,
    read_image_map,
    read_score_lists,
    score_lists_text,
)
from diffatlas.bench.packs.reading import read_file
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
    pack = read_file(path)
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
        read_file(tmp_path / "empty.jsonl")
    with pytest.raises(Unreadable, match="line 1"):
        read_geneval2(file(tmp_path, [[1]]))


def lines(folder, name, rows):
    folder.mkdir(exist_ok=True)
    return file(folder, rows, name)


NEGATION = [
    {
        "type": "negation",
        "short_description": "A street without a car.",
        "long_description": "A quiet street, no car.",
    },
    {
        "type": "negation",
        "short_description": "A cat, not black.",
        "long_description": "A cat that is not black.",
    },
]
ASKED = [
    {
        "type": "negation",
        "yn_question_list": ["Is there a street?", "Is there a car?"],
        "yn_answer_list": ["yes", "no"],
    },
    {"type": "negation", "yn_question_list": ["Is the cat black?"], "yn_answer_list": ["No"]},
]


def test_tiif_is_short_and_long_prompts_with_the_questions_of_the_same_line(tmp_path):
    prompts = lines(tmp_path / "testmini_prompts", "negation_prompts.jsonl", NEGATION)
    questions = lines(tmp_path / "testmini_eval_prompts", "negation_eval_prompts.jsonl", ASKED)
    pack = read_file(prompts)
    assert [(task.prompt, task.tag) for task in pack.tasks[:2]] == [
        ("A street without a car.", "negation, short"),
        ("A quiet street, no car.", "negation, long"),
    ]
    told = [[(one.text, one.expected) for one in task.questions] for task in pack.tasks]
    assert told[0] == told[1] == [("Is there a street?", "yes"), ("Is there a car?", "no")]
    assert told[3] == [("Is the cat black?", "no")]
    assert parse_pack(pack_text(pack)) == pack
    # Whichever of the files is given, or their folder.
    for source in (questions, prompts.parent, questions.parent):
        assert read_file(source).tasks == pack.tasks
    both = [row | asked for row, asked in zip(NEGATION, ASKED, strict=True)]
    assert read_file(lines(tmp_path / "one", "negation.jsonl", both)).tasks == pack.tasks


def test_prompts_of_tiif_without_questions_are_free_and_questions_without_prompts_are_refused(tmp_path):
    pack = read_file(lines(tmp_path / "test_prompts", "negation_prompts.jsonl", NEGATION))
    assert {task.kind for task in pack.tasks} == {"free"}
    alone = lines(tmp_path / "alone_eval_prompts", "negation_eval_prompts.jsonl", ASKED)
    with pytest.raises(
        Unreadable, match=r"put negation_prompts\.jsonl beside it, or into a folder alone_prompts"
    ):
        read_file(alone)


@pytest.mark.parametrize(
    ("rows", "asked", "words"),
    [
        (NEGATION[:1], ASKED, "has 2 lines and .* has 1"),
        (
            [{**NEGATION[0], "long_description": ""}, NEGATION[1]],
            ASKED,
            "line 1: long_description is missing",
        ),
        ([NEGATION[0], {**NEGATION[1], "type": 3}], ASKED, "line 2: type is missing or no text"),
        (NEGATION, [ASKED[0], {**ASKED[1], "type": "colour"}], "line 2: type is not 'negation'"),
        (
            NEGATION,
            [ASKED[0], {**ASKED[1], "yn_answer_list": []}],
            "line 2: yn_answer_list does not have one for each",
        ),
        (
            NEGATION,
            [ASKED[0], {**ASKED[1], "yn_answer_list": ["?"]}],
            r"line 2: yn_answer_list\[0\] is neither yes",
        ),
        (
            NEGATION,
            [ASKED[0], {**ASKED[1], "yn_question_list": [1]}],
            r"line 2: yn_question_list\[0\] is no text",
        ),
        (
            [{**NEGATION[0], "short_description": "x" * 4001}, NEGATION[1]],
            ASKED,
            "line 1: prompt has more than 4000",
        ),
    ],
)
def test_what_is_wrong_in_tiif_is_said_with_its_line(tmp_path, rows, asked, words):
    lines(tmp_path, "negation_eval_prompts.jsonl", asked)
    with pytest.raises(InvalidParams, match=words):
        read_file(lines(tmp_path, "negation_prompts.jsonl", rows))


def oneig(folder, questions, ending="", column="prompt_en"):
    table = [
        ("Portrait", "000", 'a man, "old",\nin a red hat'),
        ("Portrait", "001", "a woman"),
        ("Text_Rendering", "000", "a sign"),
    ]
    path = folder / f"OneIG-Bench{'-ZH' if ending else ''}.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as opened:
        csv.writer(opened).writerows([("category", "id", column), *table])
    place = folder / "scripts/alignment/Q_D"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"human{ending}.json").write_text(json.dumps(questions), encoding="utf-8")
    return path


HUMAN = {
    # Objects, or texts of them.
    "000": {
        "question": {"1": "Is there a man?", "2": "Is there a hat?", "3": "Is the hat red?"},
        "dependency": {"1": [0], "2": [1], "3": [2]},
    },
    "001": {"question": '{"1": "Is there a woman?"}', "dependency": '{"1": [0]}'},
}


@pytest.mark.parametrize(("ending", "column"), [("", "prompt_en"), ("_zh", "prompt_cn")])
def test_oneig_is_a_table_of_prompts_with_questions_by_their_ids(tmp_path, ending, column):
    pack = read_file(oneig(tmp_path, HUMAN, ending, column))
    assert pack.dependencies == "direct"
    assert [(task.kind, task.tag) for task in pack.tasks] == [
        ("questions", "Portrait"),
        ("questions", "Portrait"),
        ("free", "Text_Rendering"),
    ]
    assert pack.tasks[0].prompt == 'a man, "old",\nin a red hat'
    assert [(one.text, one.parents) for one in pack.tasks[0].questions] == [
        ("Is there a man?", ()),
        ("Is there a hat?", ("1",)),
        ("Is the hat red?", ("2",)),
    ]
    assert parse_pack(pack_text(pack)) == pack


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question": "{"}, "prompt 001: question is no object"),
        ({"dependency": []}, "prompt 001: dependency is no object"),
        ({"question": {"1": 5}}, "prompt 001: question 1 is no text"),
        ({"dependency": {"1": [4]}}, "prompt 001: dependency 1 is no list of questions"),
        ({"dependency": {"1": [1]}}, "parents lead back to the question itself"),
    ],
)
def test_what_is_wrong_in_oneig_is_said_with_its_prompt(tmp_path, change, words):
    path = oneig(tmp_path, {**HUMAN, "001": {**HUMAN["001"], **change}})
    with pytest.raises(InvalidParams, match=words):
        read_file(path)


def test_oneig_without_its_questions_and_the_other_way_round_are_said_in_a_sentence(tmp_path):
    path = oneig(tmp_path, HUMAN)
    questions = tmp_path / "scripts/alignment/Q_D/human.json"
    with pytest.raises(Unreadable, match=r"without their prompts: give OneIG-Bench\.csv"):
        read_file(questions)
    questions.unlink()
    with pytest.raises(
        Unreadable, match=r"has no questions beside it: expected anime\.json and the like in scripts"
    ):
        read_file(path)


DPG = (
    "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language\n"
    'whoops12,"a cat, on a mat",,1,0,entity,whole,entity - whole (cat),Is there a cat?\n'
    'whoops12,"a cat, on a mat",,2,0,entity,whole,entity - whole (mat),Is there a mat?\n'
    'whoops12,"a cat, on a mat",,3,"1,2",relation,spatial,"relation - spatial (cat, mat, on)",Is the cat on the mat?\n'
    "7,a dog,,1,0,entity,whole,entity - whole (dog),Is there a dog?\n"
)


def test_dpg_is_a_question_a_row_that_depend_on_each_other(tmp_path):
    path = tmp_path / "dpg_bench.csv"
    path.write_text(DPG, encoding="utf-8")
    pack = read_file(path)
    frame = pandas.read_csv(path, dtype={"item_id": str})
    assert [task.id for task in pack.tasks] == list(dict.fromkeys(frame.item_id))
    assert [one.text for task in pack.tasks for one in task.questions] == list(
        frame.question_natural_language
    )
    assert pack.dependencies == "cascading"
    assert pack.tasks[0].questions[2].parents == ("1", "2")
    assert [one.skill for one in pack.tasks[0].questions] == ["entity", "entity", "relation"]
    assert [task.tag for task in pack.tasks] == ["whoops", "dpg_bench"]
    assert parse_pack(pack_text(pack)) == pack


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (("2,0,entity", "two,0,entity"), InvalidParams, "line 3: proposition_id is 'two'"),
        (
            ('"1,2"', '"1,9"'),
            InvalidParams,
            r"line 2: questions\[2\].parents names '9', which is no question",
        ),
        (
            ('"a cat, on a mat",,2', "a cat,,2"),
            InvalidParams,
            "line 3: text is not that of whoops12 on line 2",
        ),
        (("a dog,,1", "a dog,1"), Unreadable, "line 5: 8 values, where the first line has 9"),
        (
            ("Is there a dog?", ""),
            InvalidParams,
            r"line 5: questions\[0\].text is not what DPG-Bench has there",
        ),
        (("question_natural_language", "question"), Unreadable, "is no table that is known here"),
        (("item_id", "item"), Unreadable, "has no column 'item_id'"),
        (("Is there a dog?", '"Is there a dog?'), Unreadable, "is no row of a table"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_line(tmp_path, change, error, words):
    path = tmp_path / "dpg_bench.csv"
    path.write_text(DPG.replace(*change), encoding="utf-8")
    with pytest.raises(error, match=words):
        read_file(path)


def test_what_is_no_pack_is_said_in_a_sentence(tmp_path):
    (tmp_path / "a.png").write_bytes(b"-")
    (tmp_path / "a.csv").write_text("x,y\n")
    for name, words in (
        ("a.png", "is no file of a pack"),
        ("b.csv", "There is no file"),
        ("a.csv", "has no rows"),
    ):
        with pytest.raises(Unreadable, match=words):
            read_file(tmp_path / name)
    with pytest.raises(Unreadable, match="has no files of TIIF-Bench"):
        read_file(tmp_path)


def test_images_are_written_and_read_as_geneval_2_s_map(tmp_path):
    pack = read_file(file(tmp_path, [ROW, {**ROW, "prompt": "a cow"}]))
    for name in ("0.png", "1.png", "2.png"):
        (tmp_path / name).write_bytes(b"-")
    samples = [Sample(pack.tasks[1], 0, tmp_path / "2.png")]
    samples += [Sample(pack.tasks[0], number, tmp_path / f"{number}.png") for number in (0, 1)]
    path = tmp_path / "images.json"
    path.write_text(image_map_text(samples))
    # One image a prompt, which is all that GenEval 2's program knows.
    assert json.loads(path.read_text()) == {
        "a cow": str(tmp_path / "2.png"),
        ROW["prompt"]: str(tmp_path / "0.png"),
    }
    # In the order of the pack; here a prompt may have several.
    path.write_text(json.dumps({"a cow": "2.png", ROW["prompt"]: ["0.png", "1.png"]}))
    found = [(one.task.id, one.number, one.path.name) for one in read_image_map(path, pack)]
    assert found == [("00000", 0, "0.png"), ("00000", 1, "1.png"), ("00001", 0, "2.png")]


def test_lists_of_scores_are_the_answers_again(tmp_path):
    pack = read_file(file(tmp_path, [ROW, {**ROW, "prompt": "a cow"}]))
    lists = [[0.9, 0.8, 0.4], [1.0000005, 0.75, 0.6]]
    path = tmp_path / "score_lists.json"
    path.write_text(json.dumps(lists))
    judged = read_score_lists(path, pack)
    assert [one.judgement.verdict for one in judged] == ["fail", "pass"]
    assert [one.judgement.score for one in judged] == pytest.approx([0.7, (1 + 0.75 + 0.6) / 3])
    geometric = read_score_lists(path, pack, "geometric")
    assert [one.judgement.score for one in geometric] == pytest.approx(
        [gmean(one) for one in lists], rel=1e-6
    )
    again = json.loads(score_lists_text(pack, [*reversed(judged)]))
    np.testing.assert_allclose(again, lists, atol=1e-6)
