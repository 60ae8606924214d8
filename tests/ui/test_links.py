"""Links fill the form, or say what is wrong with them."""

from __future__ import annotations

import pytest

from diffatlas.registry import list_models
from diffatlas.ui import links

FIRST = "shapes"


def fill(**query):
    updates, problem = links.fill(query, lambda model: None, FIRST)
    return dict(zip(links.FIELDS, updates, strict=True)), problem


def value(update):
    return update["value"] if isinstance(update, dict) and "value" in update else update


def test_what_a_link_names_is_filled_and_nothing_else():
    filled, problem = fill(
        prompt="a red circle", seed="7", steps="12", guidance="2.5", size="64x96", other="x"
    )
    assert problem is None
    assert value(filled["prompt"]) == "a red circle"
    assert filled["seed"] == 7
    assert filled["steps"] == 12
    assert filled["guidance"] == 2.5
    assert value(filled["size"]) == "64x96"
    assert "value" not in filled["model"]
    assert "value" not in filled["negative_prompt"]


def test_a_method_comes_with_its_options():
    filled, problem = fill(prompt="a red circle", guidance_method="apg", guidance_options="eta=0.5, norm=2")
    assert problem is None
    assert filled["guidance_method"]["value"] == "apg"
    assert filled["guidance_options"]["value"] == "eta=0.5, norm=2"
    assert filled["guidance_options"]["visible"]


def test_a_page_without_a_link_is_left_alone():
    filled, problem = fill(page="library", run="x")
    assert problem is None
    assert all("value" not in update for update in filled.values())


def test_another_model_brings_its_own_first_values_unless_the_link_has_some():
    other = next(entry for entry in list_models("local") if entry.size != 64)
    filled, _ = fill(model=other.id, steps="3")
    assert value(filled["model"]) == other.id
    assert filled["steps"] == 3
    assert value(filled["size"]) != "64x64"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"steps": "many"}, "steps"), ({"seed": "nan"}, "seed"), ({"seed": "1e999"}, "seed"), ({"size": "big"}, "size"),
        ({"model": "../../etc/passwd"}, "model"), ({"guidance_method": "magic"}, "magic"),
        ({"guidance_method": "apg", "guidance_options": "eta=9"}, "eta"),
    ],
)  # fmt: skip
def test_a_wrong_link_fills_nothing_and_says_why(query, words):
    filled, problem = fill(prompt="a red circle", **query)
    assert words in problem.lower()
    assert all("value" not in update for update in filled.values() if isinstance(update, dict))
    assert not any(isinstance(update, (int, float, str)) for update in filled.values())
