"""Looks at stored attention, against the maps themselves."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.operations.attention import attention_of, js
from diffatlas.operations.attention_view import Look, Readings, word_map
from diffatlas.params import GenerationParams
from diffatlas.run import Run
from tests.operations import made_attention as made


def run_of(number: int, **options) -> Run:
    """A stored run with the random attention of `made_attention`."""
    trace = made.trace(seed=number, **options)
    steps = tuple(step for step in trace.steps if step.attention)
    return Run(
        id=f"20260131-120000-{number:08x}",
        params=GenerationParams(prompt="a red circle and a blue square", seed=number),
        status="complete",
        created="2026-01-31T12:00:00.000+00:00",
        initial_latents=trace.initial_latents,
        initial_sigma=1.0,
        total_steps=len(steps),
        steps=steps,
        provenance=trace.provenance,
        capture=trace.capture,
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    library = Library(tmp_path_factory.mktemp("runs"))
    for number, options in ((0, {}), (1, {}), (2, {"heads": 2})):
        library.save(run_of(number, **options))
    return library


def stored(library, number):
    return library.open(f"20260131-120000-{number:08x}")


def test_maps_are_those_of_the_attention_of_all_layers_and_of_some(library):
    run = stored(library, 0)
    readings = Readings()
    attention = attention_of(run)
    np.testing.assert_array_equal(readings.maps(run, Look()), attention.maps())
    only = readings.maps(run, Look(layers=("mid",)))
    # A single layer keeps its own grid, where the maps are what was stored.
    assert only.shape[-2:] == (2, 4)
    np.testing.assert_array_equal(only[1], run.attention(1)["cross:mid_block.attn2"][0].astype(np.float32))


def test_measures_are_of_the_layers_looked_at(library):
    run = stored(library, 0)
    readings = Readings()
    whole, mid = readings.measures(run, Look()), readings.measures(run, Look(layers=("mid",)))
    assert mid.entropy.shape == (4, 1)
    np.testing.assert_allclose(mid.entropy[:, 0], whole.entropy[:, 1])
    native = run.attention(2)["cross:mid_block.attn2"][0].astype(np.float64).mean((1, 2))
    np.testing.assert_allclose(mid.activation[2], native, rtol=1e-6)
    # Of the other kind there is no such layer, so that stays whole.
    assert mid.self_entropy.shape == whole.self_entropy.shape


def test_a_head_is_looked_at(library):
    run = stored(library, 2)
    maps = Readings().maps(run, Look(layers=("mid",), head=1))
    np.testing.assert_array_equal(maps[0], run.attention(0)["cross:mid_block.attn2"][0, 1].astype(np.float32))


def test_what_was_read_is_kept_until_there_is_too_much(library):
    run = stored(library, 0)
    readings = Readings()
    assert readings.maps(run, Look()) is readings.maps(run, Look())
    tight = Readings(limit_bytes=1)
    first = tight.maps(run, Look())
    tight.measures(run, Look())
    assert tight.maps(run, Look()) is not first


def test_measures_of_a_copy_are_those_of_its_original_and_of_nothing_else(library, tmp_path):
    """Each visitor of a workshop has a copy; one who changes theirs changes what nobody else sees."""
    readings, other = Readings(), Library(tmp_path / "other")
    own = readings.measures(stored(library, 0), Look())
    copy = other.take_in(stored(library, 0))
    assert readings.measures(other.open(copy.name), Look()) is own
    assert readings.measures(other.open(copy.name), Look(layers=("mid",))) is not own
    theirs = Library(tmp_path / "theirs")
    forged = theirs.take_in(stored(library, 0))
    (changed, *_) = sorted((forged / "steps").glob("*attention*"))
    shutil.copy(library.path(stored(library, 1).id) / "steps" / changed.name, changed)
    assert not np.array_equal(readings.measures(theirs.open(forged.name), Look()).activation, own.activation)


def test_two_runs_are_compared_under_one_look(library):
    a, b = stored(library, 0), stored(library, 1)
    found = Readings().divergence(a, b, Look(layers=("up",)))
    own = js(attention_of(a).within("up"), attention_of(b).within("up"))
    np.testing.assert_array_equal(found.values, own.values)
    assert found.values.max() > 0
    assert not np.allclose(found.values, Readings().divergence(a, b, Look()).values)


def test_a_word_is_the_mean_of_its_tokens(library):
    maps = Readings().maps(stored(library, 0), Look())
    np.testing.assert_allclose(word_map(maps, [3, 4]), (maps[:, 3] + maps[:, 4]) / 2, rtol=1e-6)
    for wrong in ([], [99], [-1], [True], ["3"]):
        with pytest.raises(InvalidParams):
            word_map(maps, wrong)


def test_layers_that_are_not_there_are_refused(library):
    with pytest.raises(InvalidParams, match="There are: down_blocks"):
        Readings().trace(stored(library, 0), Look(layers=("nothing",)))
