"""Two paths held against each other as a figure."""

import dataclasses

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.errors import CapabilityError, InvalidParams
from tests.figures.written import HOSTILE, written
from tests.library.made_runs import made


def paths_of(*runs):
    return [run.latents[:, 0].reshape(len(run.latents), -1).astype(float) for run in runs]


def test_distance_and_angle_are_those_of_the_states():
    one, two = made(1), made(2)
    figure = figures.comparison(one, two)
    a, b = paths_of(one, two)
    distance, angle = figure.data
    assert list(distance.x) == list(range(len(a)))
    np.testing.assert_allclose(distance.y, np.linalg.norm(a - b, axis=1), rtol=1e-6)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(angle.y, np.degrees(np.arccos(cosine)), rtol=1e-5)
    assert "begin apart" in figure.layout.meta["says"]


def test_where_they_part_is_marked_in_both_charts():
    one = made(1)
    steps = list(one.steps)
    steps[-1] = dataclasses.replace(steps[-1], latents=steps[-1].latents + 3)
    two = dataclasses.replace(one, steps=tuple(steps))
    figure = figures.comparison(one, two, names=["a", "b"])
    assert [shape.x0 for shape in figure.layout.shapes] == [len(steps)] * 2
    assert f"part at step {len(steps)}" in figure.layout.meta["says"]
    alike = figures.comparison(one, one, names=["a", "b"])
    assert not alike.layout.shapes
    assert "stay together" in alike.layout.meta["says"]


def test_other_alignments_say_what_they_are():
    one, two = made(1), made(2)
    warped = figures.comparison(one, two, align="dtw")
    assert f"{sum(warped.data[0].y):.4g}" in warped.layout.meta["says"]
    turned = figures.comparison(one, two, align="procrustes")
    assert len(turned.data) == 1
    assert "unexplained" in turned.layout.meta["says"]
    with pytest.raises(InvalidParams, match="Alignment"):
        figures.comparison(one, two, align="sideways")


def test_without_latents_there_is_no_path_and_names_are_escaped():
    bare = dataclasses.replace(
        made(1),
        initial_latents=None,
        steps=tuple(dataclasses.replace(step, latents=None) for step in made(1).steps),
    )
    with pytest.raises(CapabilityError, match="not kept"):
        figures.comparison(bare, made(2))
    assert "<a" not in written(figures.comparison(made(1), made(2), names=[HOSTILE, "b"]))
