"""What differs between runs in view is in their names, and no two names are the same."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from diffatlas.inputs import ImageInput
from diffatlas.names import MOST, cut, facts_of, told_apart
from diffatlas.params import GenerationParams, Lora, Noise

BASE = GenerationParams(prompt="a red circle", seed=7, width=64, height=64, scheduler="ddim")
#: A change of each field of a request, and words that must tell it.
CHANGES = {
    "prompt": ("a blue square", "“a blue square”"),
    "negative_prompt": ("grey", "not “grey”"),
    "model": ("shapes-dit", "shapes-dit"),
    "seed": (8, "seed 8"),
    "num_inference_steps": (12, "12 steps"),
    "guidance_scale": (7.5, "guidance 7.5"),
    "width": (96, "96 × 64"),
    "height": (96, "64 × 96"),
    "scheduler": ("euler", "euler"),
    "num_images_per_prompt": (2, "2 images"),
    "variant": ("fp16", "fp16"),
    "revision": ("main", "main"),
    "subfolder": ("inner", "inner"),
    "loras": ((Lora("user/ink", 0.5),), "user/ink at 0.5"),
    "guidance_method": ("apg", "daptive projected"),
    "guidance_options": ({"eta": 0.5}, "eta 0.5"),
    "noise": (Noise("perturb", 4, 0.27, 12), "radius 0.27 with seed 4 after step 12"),
    "extra": ({"strength": 0.6}, "strength 0.6"),
    "inputs": ((ImageInput("image", "ab" * 32, "RGB", 64, 64),), "from image ababab"),
}


def names(*params: GenerationParams, called: str = "mine") -> list[str]:
    return told_apart([called] * len(params), [facts_of(one) for one in params])


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(GenerationParams)])
def test_every_field_of_a_request_tells_two_runs_apart(field: str) -> None:
    value, words = CHANGES[field]
    base = BASE.replace(guidance_method="apg") if field == "guidance_options" else BASE
    first, second = names(base, base.replace(**{field: value}))
    assert words in second
    assert words not in first
    assert first.startswith("mine, ")
    # Nothing else is said: nothing else differs.
    assert second.count(",") == 1


def test_one_run_and_differently_named_runs_keep_their_names() -> None:
    assert names(BASE) == ["mine"]
    assert told_apart(["a", "b"], [facts_of(BASE), facts_of(BASE.replace(seed=9))]) == ["a", "b"]


def test_what_differs_is_counted_over_all_of_one_name() -> None:
    runs = [BASE.replace(seed=seed, guidance_scale=scale) for seed, scale in ((7, 3), (8, 3), (7, 7.5))]
    assert names(*runs) == [
        "mine, guidance 3, seed 7",
        "mine, guidance 3, seed 8",
        "mine, guidance 7.5, seed 7",
    ]


def test_the_same_request_twice_is_numbered() -> None:
    assert names(BASE, BASE, BASE.replace(seed=8)) == ["mine, seed 7 (1)", "mine, seed 7 (2)", "mine, seed 8"]
    stopped = told_apart(["x", "x"], [facts_of(BASE), facts_of(BASE, ended="stopped after 4 steps")])
    assert stopped == ["x, complete", "x, stopped after 4 steps"]


def test_spaces_make_no_difference_that_nobody_sees() -> None:
    assert told_apart(["a  red", "a red"], [facts_of(BASE), facts_of(BASE)]) == ["a red (1)", "a red (2)"]


def test_long_names_are_cut_in_the_middle_and_still_tell() -> None:
    long = "a very " * 40 + "red circle"
    runs = [BASE.replace(prompt=long, seed=seed) for seed in (7, 8)]
    first, second = names(*runs, called=long)
    assert len(first) <= MOST
    assert first.startswith("a very a very")
    assert "circle, seed 7" in first
    assert second.endswith("seed 8")
    # Names that differ in the middle alone are still two.
    middles = ["x" * 100 + middle + "y" * 100 for middle in "ab"]
    cuts = told_apart(middles, [facts_of(BASE), facts_of(BASE)])
    assert len(set(cuts)) == 2
    assert all(len(one) <= MOST for one in cuts)


def test_a_number_that_is_taken_is_left_out() -> None:
    facts = [facts_of(BASE)] * 3
    assert told_apart(["x (1)", "x", "x"], facts) == ["x (1)", "x (2)", "x (3)"]
    assert told_apart(["x", "x", "x (1)"], facts) == ["x (2)", "x (3)", "x (1)"]


def test_no_two_names_are_the_same() -> None:
    """Over all combinations of some changes, and names of the worst kind."""
    some = [dict(choice) for choice in itertools.product(
        [("seed", 1), ("seed", 2)], [("guidance_scale", 1.0), ("guidance_scale", 2.0)], [("scheduler", "ddim")]
    )]  # fmt: skip
    runs = [BASE.replace(**change) for change in some for _ in range(3)]
    for called in ("", "x", "x (1)", "y" * 300):
        found = names(*runs, called=called)
        assert len(set(found)) == len(runs)
        assert all(len(one) <= MOST for one in found)


@pytest.mark.parametrize("most", [1, 2, 3, 10, 80])
def test_a_cut_keeps_both_ends(most: int) -> None:
    text = "abcdefghij" * 30
    short = cut(text, most)
    assert len(short) <= most
    assert cut("short", 80) == "short"
    if most > 3:
        assert (short[0], short[-1], "…" in short) == ("a", "j", True)
