"""What goes along from page to page: only what a form can ask is taken from a browser."""

import pytest

from diffatlas.ui.carrying import asked_in


def test_the_fields_of_a_form_are_taken_as_text():
    given = {"prompt": "a heart", "seed": 5, "guidance": 7.5, "scheduler": "", "steps": 0}
    assert asked_in(given) == {"prompt": "a heart", "seed": "5", "guidance": "7.5", "steps": "0"}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "3", None, '"a"', '{"inputs": "x", "extra": {"a": 1}}']
)
def test_what_is_no_request_asks_nothing(text):
    assert asked_in(text) == {}


def test_what_is_no_text_and_no_number_is_left_out():
    assert asked_in({"prompt": ["a"], "seed": {"b": 1}, "steps": None, "size": "64x64"}) == {"size": "64x64"}
