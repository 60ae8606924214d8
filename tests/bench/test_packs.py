"""Packs as files: read with the line and field of what is wrong, written so that they come back, and those shipped."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffatlas.bench.packs.coco import CLASSES, plural
from diffatlas.bench.packs.files import pack_schema, pack_text, parse_pack, read_pack
from diffatlas.bench.packs.shapes import SIX
from diffatlas.bench.packs.shipped import SHIPPED, shipped_pack
from diffatlas.bench.tasks import COLORS, RELATIONS, Exclude, Include, Pack, Question, Task
from diffatlas.errors import InvalidParams, Unreadable

GOOD = """\
name: mine
title: Mine
tasks:
- id: a
  prompt: a photo of a dog right of a teddy bear
  tag: position
  include:
  - class: teddy bear
  - class: dog
    position: [right of, 0]
- id: b
  prompt: a street without a car
  tag: absence
  kind: questions
  questions:
  - {id: q1, text: Is there a street?}
  - {id: q2, text: Is there a car?, expected: no, parents: [q1], skill: absence}
"""


def test_a_pack_is_read_with_what_it_leaves_out_as_it_is_by_itself(tmp_path):
    (tmp_path / "mine.yaml").write_text(GOOD, encoding="utf-8")
    pack = read_pack(tmp_path / "mine.yaml")
    first, second = pack.tasks
    assert first.include == (
        Include(noun="teddy bear"),
        Include(noun="dog", count=1, position=("right of", 0)),
    )
    # YAML 1.1 has "no" for false: here it is an answer.
    assert [question.expected for question in second.questions] == ["yes", "no"]
    assert (pack.dependencies, pack.tags) == ("cascading", ("position", "absence"))


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        (
            "- class: dog",
            "- clas: dog",
            9,
            r"tasks\[0\].include\[1\].clas means nothing here: there are class, count",
        ),
        ("[right of, 0]", "[rigth of, 0]", 10, r"position\[0\] is \"rigth of\": give 'left of', 'right of'"),
        ("[right of, 0]", "[right of, 1]", 10, "position is to object 1, which does not come earlier"),
        ("[right of, 0]", "[right of, 0]\n    count: 0", 11, "count is 0: give a whole number from 1 to 16"),
        (
            "- class: teddy bear",
            "- class: teddy bear\n    count: two",
            9,
            'count is "two": give a whole number',
        ),
        ("  tag: position\n", "", 4, r"tasks\[0\].tag is missing: give text"),
        ("tag: position", "tag: 3", 6, r"tag is 3: give text"),
        ("id: b", "id: a", 11, "id is 'a', as that of an earlier task"),
        ("kind: questions", "kind: question", 14, "give 'objects', 'questions' or 'free'"),
        ("kind: questions", "kind: free", 14, "kind is 'free', and yet there are questions"),
        ("parents: [q1]", "parents: [q3]", 17, "names 'q3', which is no question of this task"),
        (
            "text: Is there a street?",
            "text: Is there a street?, parents: [q2]",
            16,
            "lead back to the question itself",
        ),
        ("id: q2", "id: q1", 17, "id is 'q1', as that of an earlier question"),
        ("title: Mine", "title: Mine\ncolour: red", 3, "colour means nothing here"),
        ("name: mine", "format: diffatlas-pack-9\nname: mine", 1, "format is"),
    ],
)
def test_what_is_wrong_is_said_with_its_line_and_field(old, new, line, words):
    assert old in GOOD
    with pytest.raises(InvalidParams, match=words) as told:
        parse_pack(GOOD.replace(old, new, 1), "mine.yaml")
    assert str(told.value).startswith(f"mine.yaml, line {line}: ")
    assert str(told.value).count("\n") == 0
    assert told.value.field


def test_json_is_said_with_its_line_too():
    value = json.loads(pack_text(parse_pack(GOOD), "json"))
    value["tasks"][1]["questions"][0]["text"] = ""
    text = json.dumps(value, indent=1)
    line = next(k for k, row in enumerate(text.splitlines(), 1) if '"text": ""' in row)
    with pytest.raises(InvalidParams, match=rf"line {line}: tasks\[1\].questions\[0\].text"):
        parse_pack(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "- &a 1\n- *a",
        "tasks: !!python/object/apply:os.system ['true']",
        "name: !mine x",
        "a: 1\na: 2",
        "[" * 5000,
        "? [1]\n: 2",
        "\x00",
        "a: " + "[" * 60 + "]" * 60,
    ],
)
def test_what_is_no_plain_value_is_refused_in_a_sentence(text):
    with pytest.raises(Unreadable) as told:
        parse_pack(text)
    assert str(told.value).endswith(".")


@pytest.mark.parametrize("text", ["- 1", "3", "null", "tasks: []", "name: a\ntitle: b\ntasks: []"])
def test_what_is_no_pack_is_refused_with_its_line(text):
    with pytest.raises(InvalidParams, match=r"line 1|line 3"):
        parse_pack(text)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=12).filter(
    str.strip
)
NAMES = WORDS.map(str.strip)
INCLUDES = st.builds(
    Include, noun=NAMES, count=st.integers(1, 16), color=st.none() | NAMES, position=st.none()
) | st.builds(Include, noun=NAMES)
QUESTIONS = st.builds(
    Question, id=NAMES, text=NAMES, expected=st.sampled_from(["yes", "no", "on", "3", "null", "~"])
)


@st.composite
def packs(draw):
    tasks = []
    for number in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["objects", "questions", "free"]))
        own = {}
        if kind == "objects":
            include = draw(st.lists(INCLUDES, min_size=1, max_size=3))
            if len(include) > 1:
                last = Include(noun="x", position=(draw(st.sampled_from(RELATIONS)), 0))
                include.append(last)
            own = {
                "include": tuple(include),
                "exclude": (Exclude(noun=draw(NAMES), color=draw(st.none() | NAMES)),),
            }
        elif kind == "questions":
            own = {
                "questions": tuple(
                    draw(st.lists(QUESTIONS, min_size=1, max_size=3, unique_by=lambda q: q.id))
                )
            }
        tasks.append(Task(id=f"{number}", prompt=draw(NAMES), tag=draw(NAMES), kind=kind, **own))
    return Pack(
        name=draw(NAMES),
        title=draw(NAMES),
        dependencies=draw(st.sampled_from(["cascading", "direct"])),
        tasks=tuple(tasks),
    )


@given(packs(), st.sampled_from(["yaml", "json"]))
@settings(max_examples=150, deadline=None)
def test_what_is_written_comes_back(pack, kind):
    assert parse_pack(pack_text(pack, kind)) == pack


def test_the_schema_is_of_what_is_written():
    schema = pack_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(json.loads(pack_text(parse_pack(GOOD), "json"))) <= set(schema["properties"])
    assert schema["$defs"]["Include"]["required"] == ["class"]


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_pack_is_whole_has_no_prompt_twice_and_is_drawn_by_its_seed(name):
    pack = shipped_pack(name, seed=1)
    prompts = [task.prompt for task in pack.tasks]
    assert len(set(prompts)) == len(prompts)
    assert set(Counter(task.tag for task in pack.tasks).values()) == {SHIPPED[name].each}
    assert parse_pack(pack_text(pack, "json")) == pack
    assert shipped_pack(name, seed=1) == pack
    if name not in ("critical-absence", "shapes"):
        assert shipped_pack(name, seed=2) != pack


def where(noun, prompt):
    """At which letter a prompt names a class, once or several."""
    at = [prompt.find(word) for word in (plural(noun), noun)]
    assert max(at) >= 0, (noun, prompt)
    return max(at)


@pytest.mark.parametrize("name", SHIPPED)
def test_what_a_prompt_names_is_what_it_demands(name):
    opposite = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    for task in shipped_pack(name).tasks:
        for demand in task.include:
            at = where(demand.noun, task.prompt)
            assert demand.color is None or task.prompt[:at].endswith(f"{demand.color} ")
            if demand.position is not None:
                other = where(task.include[demand.position[1]].noun, task.prompt)
                relation = demand.position[0] if at < other else opposite[demand.position[0]]
                assert relation in task.prompt[min(at, other) : max(at, other)]
        counts = {demand.noun: demand.count for demand in task.include}
        for refused in task.exclude:
            where(refused.noun, task.prompt)
            assert refused.color or refused.count == counts.get(refused.noun, 0) + 1


def test_sizes_are_any_and_too_large_ones_are_refused():
    assert len(shipped_pack("shapes", each=3).tasks) == 3 * len(SIX)
    assert len(shipped_pack("geneval-form", each=80).tasks) == 480
    assert {task.include[0].noun for task in shipped_pack("geneval-form").tasks[:80]} == set(CLASSES)
    assert {d.color for t in shipped_pack("colour").tasks for d in t.include} <= {*COLORS}
    for name, each in (("geneval-form", 81), ("critical-absence", 100), ("shapes", 10_000)):
        with pytest.raises(InvalidParams, match="ask for fewer"):
            shipped_pack(name, each=each)
    with pytest.raises(InvalidParams, match="give 1 or more"):
        shipped_pack("shapes", each=0)
    with pytest.raises(InvalidParams, match="Did you mean counting"):
        shipped_pack("countin")


@pytest.mark.parametrize(
    "text", ["0E0", "1e5", ".5", "~", "Null", "TRUE", "yes", "1_000", "0o17", "2026-11-30", "=", "- a"]
)
@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_a_text_that_looks_like_something_else_stays_text(text, kind):
    pack = replace(shipped_pack("smoke"), title=text)
    assert parse_pack(pack_text(pack, kind)).title == text
