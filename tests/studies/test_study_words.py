"""What is said of a sweep, word for word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from diffatlas.library.study import Cell, Lane, Study
from diffatlas.params import GenerationParams
from diffatlas.studies.curves import lane_curves
from diffatlas.studies.words_sweep import (
    APART,
    agreement_sentences,
    lane_sentences,
    largest_change,
    listed,
    parting,
)

LABELS = ("g 1", "g 4", "g 7.5", "g 12")


def sweep(rows: int = 1, lanes: str = "a") -> Study:
    cells = tuple(
        Cell(
            f"{lane}-{row}-{column}",
            lane,
            row,
            column,
            float(column),
            label,
            "",
            GenerationParams(prompt="a circle", seed=7 + row),
            "complete",
        )
        for lane in lanes
        for row in range(rows)
        for column, label in enumerate(LABELS)
    )
    spec = {"field": "guidance_scale", "baseline": 1}
    return Study("an-id", "sweep", "a sweep", "", spec, tuple(Lane(k, k) for k in lanes), cells, "complete")


def measured(study: Study, steps: tuple, **lane) -> dict:
    cells = {
        cell.key: {"parting": steps[cell.column], "path_length": 5.0, "saturation": 0.1 * cell.row}
        for cell in study.cells
    }
    names = (("hash", "Perceptual hash"), ("image", "Image"), ("latent", "L2 of latents"))
    distances = [{"key": key, "label": label, "about": ""} for key, label in names]
    return {
        "baseline": 1,
        "distances": distances,
        "cells": cells,
        "lanes": {one.key: lane for one in study.lanes},
    }


def test_the_largest_change_is_said_once_for_distances_that_agree() -> None:
    change = {"from": 2, "to": 3, "size": -0.25}
    study = sweep()
    found = measured(
        study,
        (1, None, 2, 3),
        largest_change={
            "hash": change,
            "image": change | {"size": 12.3456},
            "latent": {"from": 0, "to": 1, "size": 0.5},
        },
    )
    assert largest_change(study, found, "a") == (
        "The largest change between neighbouring values is from g 7.5 to g 12 by perceptual hash (0.250) and image "
        "(12.3) and from g 1 to g 4 by L2 of latents (0.500)."
    )
    assert largest_change(study, measured(study, (1,) * 4, largest_change={"hash": None}), "a") is None


def test_paths_part_or_do_not() -> None:
    study = sweep()
    assert parting(study, measured(study, (3, None, 5, 2)), "a") == (
        "The paths part from the baseline (g 4): g 1 at step 3, g 7.5 at step 5 and g 12 at step 2."
    )
    assert parting(study, measured(study, (3, None, None, None)), "a") == (
        "The paths part from the baseline (g 4): g 1 at step 3. "
        "G 7.5 and g 12 do not part, or cannot be held against it step by step."
    )
    one = study.with_cell("a-0-0", status="failed").with_cell("a-0-2", status="stopped")
    assert parting(one, measured(study, (None,) * 4), "a") == (
        "From the baseline (g 4), g 12 does not part, or cannot be held against it step by step."
    )


def test_nothing_is_said_of_paths_that_were_not_kept() -> None:
    study = sweep()
    found = measured(study, (3, None, 5, 2))
    for cell in found["cells"].values():
        cell["path_length"] = None
    assert parting(study, found, "a") is None
    assert parting(study, {}, "a") is None


@pytest.mark.parametrize(("row", "seed"), [(None, 7), (0, 7), (1, 8)])
def test_the_seed_whose_paths_are_told_is_named_among_several(row: int | None, seed: int) -> None:
    study = sweep(rows=2)
    said = parting(study, measured(study, (3, None, 5, 2)), "a", row)
    assert said.startswith(f"The paths part from the baseline (g 4) of seed {seed}: g 1 at step 3")


def test_a_sentence_that_stands_for_two_is_said_once() -> None:
    nowhere = {"column": None, "sentence": "The values have no order."}
    study = sweep()
    found = measured(study, (3, None, 5, 2), clipping=nowhere, collapse=nowhere)
    assert lane_sentences(study, found, "a")[1:] == ["The values have no order."]


def test_agreement_is_said_of_several_lanes_only() -> None:
    assert agreement_sentences(sweep(), {"agreement": []}) == []
    two = sweep(lanes="ab")
    assert agreement_sentences(two, {}) == []
    assert agreement_sentences(two, {"cells": {}, "agreement": []}) == [APART]
    assert agreement_sentences(two, {"agreement": [{"sentence": "They agree."}]}) == ["They agree."]


def test_lists_in_words() -> None:
    assert [listed(parts) for parts in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


def test_a_curve_is_a_mean_over_the_seeds_that_are_known() -> None:
    study = sweep(rows=3)
    found = measured(study, (3, None, 5, 2), curves={"hash": [0.0, float("nan"), 0.5]})
    found["cells"]["a-2-0"]["saturation"] = None
    curves = lane_curves(study, found, "a")
    assert curves["saturation"].values == pytest.approx((0.05, 0.1, 0.1, 0.1))
    assert curves["saturation"].seeds == (2, 3, 3, 3)
    assert curves["drift_hash"].values == (0.0, None, 0.5, None)
    assert curves["diversity"].values == (None,) * 4
    nothing = lane_curves(replace(study, spec={}), {}, "a")
    assert set(nothing["drift_hash"].values) == {None}
