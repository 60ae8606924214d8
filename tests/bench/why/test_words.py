"""Which words of a prompt name its objects."""

import pytest

from diffatlas.bench.tasks import Include
from diffatlas.bench.why.words import objects_named
from tests.bench.why.made_cases import table, task


def include(*wanted):
    return [Include(noun=noun, color=color, count=count) for noun, color, count in wanted]


@pytest.mark.parametrize(
    ("prompt", "wanted", "named"),
    [
        (
            "a red circle and a blue square",
            [("circle", "red", 1), ("square", "blue", 1)],
            [("red circle", (2, 3)), ("blue square", (6, 7))],
        ),
        # What something stands in a relation to comes first in the task, and last in the prompt.
        (
            "a dog to the left of a teddy bear",
            [("teddy bear", None, 1), ("dog", None, 1)],
            [("dog", (2,)), ("teddy bear", (8, 9))],
        ),
        ("a photo of three people", [("person", None, 3)], [("people", (5,))]),
        ("five red circles", [("circle", "red", 5)], [("red circles", (2, 3))]),
        (
            "a circle, a red circle and a blue circle",
            [("circle", None, 1), ("circle", "red", 1), ("circle", "blue", 1)],
            [("circle", (2,)), ("red circle", (4, 5)), ("blue circle", (8, 9))],
        ),
        # The colour is said elsewhere, or the object not at all.
        ("a circle that is red", [("circle", "red", 1), ("star", None, 1)], [("circle", (2,))]),
        ("a photo of fruit", [("banana", "green", 1)], []),
    ],
)
def test_an_object_is_its_noun_with_the_colour_before_it_in_the_order_of_the_prompt(prompt, wanted, named):
    found = objects_named(task(include=include(*wanted), prompt=prompt), table(prompt))
    assert [(one.words, one.tokens) for one in found] == named
