"""A task that a form adds to a pack's text: what was written stays, however it was written."""

import json

import pytest

from diffatlas.bench.packs.edited import task_lines, with_task
from diffatlas.bench.packs.files import pack_text, parse_pack
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.tasks import Include
from diffatlas.errors import InvalidParams

TASK = {
    "prompt": "two dogs: a ‘pair’",
    "tag": "dogs",
    "include": [{"class": "dog", "count": 2, "color": None}],
}
BLOCK = """\
# Mine.
name: mine
tasks:   # the tasks
{0}- id: a            # the first
{0}  prompt: >
{0}    a bear
{0}    in a wood
{0}  tag: bears
{0}  include: [{{class: bear}}]   # one bear
# What follows the tasks.
title: Mine
"""


@pytest.mark.parametrize("indent", ["", "  "])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_task_comes_after_the_last_and_every_other_line_stays(indent, ends):
    text = BLOCK.format(indent).replace("\n", ends)
    written = with_task(text, TASK)
    pack = parse_pack(written)
    assert [task.id for task in pack.tasks] == ["a", "dogs-1"]
    assert pack.tasks[1].include == (Include(noun="dog", count=2),)
    kept = [line.strip() for line in text.splitlines()]
    assert [line for line in map(str.strip, written.splitlines()) if line in kept] == kept
    assert "one bear" in written
    assert [written.splitlines()[line - 1].strip()[:4] for line in task_lines(written, pack)] == ["- id"] * 2


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_it_is_read_as_it_was_given_in_every_pack(kind):
    for name in ("shapes-hard", "smoke"):
        before = shipped_pack(name)
        pack = parse_pack(with_task(pack_text(before, kind), TASK))
        assert pack.tasks[:-1] == before.tasks
        assert pack.tasks[-1].prompt == TASK["prompt"]


def test_a_list_in_brackets_and_one_without_a_last_line_end_are_read_too():
    for text in (
        "name: a\ntitle: A\ntasks: [{id: t, prompt: p, tag: g, kind: free},]",
        "name: a\ntitle: A\ntasks:\n- {id: t, prompt: p, tag: g, kind: free}",
        "name: a\ntitle: A\ntasks:\n- id: t\n  prompt: p\n  tag: g\n  kind: free\n  questions: []",
        json.dumps(
            {"name": "a", "title": "A", "tasks": [{"id": "t", "prompt": "p", "tag": "g", "kind": "free"}]}
        ),
    ):
        assert len(parse_pack(with_task(text, TASK)).tasks) == 2


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"include": [{"class": "dog", "count": 0}]}, "include[0].count"),
        ({"include": [{"class": "dog", "position": ["above", 0]}]}, "include[0].position"),
        ({"include": []}, "include"),
        ({"id": "a"}, "id"),
        ({"kind": "questions", "include": [], "questions": [{"id": "q", "text": " "}]}, "questions[0].text"),
    ],
)
def test_what_is_wrong_with_it_is_said_at_its_field(changed, field):
    with pytest.raises(InvalidParams) as error:
        with_task(BLOCK.format(""), {**TASK, **changed})
    assert error.value.field == field


def test_a_text_that_is_faulty_is_to_be_mended_first():
    with pytest.raises(
        InvalidParams, match=r"Mend the text first, line 9: tasks\[0\]\.include\[0\]\.clas "
    ) as error:
        with_task(BLOCK.format("").replace("class", "clas"), TASK)
    assert error.value.field == "text"
