"""What tasks demand, in words."""

import pytest

from diffatlas.bench.packs.files import parse_pack
from diffatlas.bench.packs.shipped import shipped_pack
from diffatlas.bench.words import BY_HAND, demands


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("include: [{class: circle, count: 2, color: red}]", ["at least 2 red circles"]),
        ("include: [{class: person, count: 3}], exclude: [{class: person, count: 4}]", ["exactly 3 people"]),
        ("include: [{class: orange}], exclude: [{class: car}]", ["an orange", "no car"]),
        (
            "include: [{class: cup, count: 2, color: red}], exclude: [{class: cup, count: 3}]",
            ["exactly 2 cups, all red"],
        ),
        (
            "include: [{class: cup, count: 2}], exclude: [{class: cup, count: 3, color: red}]",
            ["at least 2 cups", "at most 2 red cups"],
        ),
        (
            "include: [{class: bear}, {class: dog, color: brown, position: [right of, 0]}]",
            ["a bear", "a brown dog", "the brown dog right of the bear"],
        ),
        (
            "include: [{class: dog}, {class: dog, position: [above, 0]}]",
            ["a dog", "a dog", "the dog above another dog"],
        ),
        ("background: white", ["a white background"]),
        (
            "kind: questions, questions: [{id: s, text: A street?}, {id: c, text: A car?, expected: no, parents: [s]}]",
            ["A street? yes", "A car? no (after s)"],
        ),
        ("kind: free", [BY_HAND]),
    ],
)
def test_each_demand_is_said(task, words):
    pack = parse_pack(f"name: a\ntitle: A\ntasks: [{{id: t, prompt: p, tag: g, {task}}}]")
    assert demands(pack.tasks[0]) == words


def test_counts_that_are_exact_are_said_so_in_the_packs_that_come_with_the_program():
    for name in ("counting", "shapes-hard"):
        counted = [task for task in shipped_pack(name).tasks if "count" in task.tag]
        assert all(demands(task)[0].startswith("exactly") for task in counted), name
