"""Maps and measures where some layers did not run at some steps: over what there is, and NaN where there is nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import entropy as scipy_entropy

from diffatlas.attention.info import mean_there
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.formats.tables.attention import described
from diffatlas.geometry import attention as maths
from diffatlas.library import Library
from diffatlas.operations.attention import AttentionTrace, attention_of, js
from diffatlas.operations.attention_view import Look, Readings
from diffatlas.params import GenerationParams
from diffatlas.run import Run
from tests.operations import made_attention as made

DOWN, MID, UP = (f"cross:{name}" for name in made.CROSS)
OWN = "self:up_blocks.1.attn1"
#: What each of four steps has: the last one has no attention to words at all.
THERE = ({DOWN, MID, UP, OWN}, {DOWN, OWN}, {DOWN, UP}, {OWN})


def cached(seed: int = 0, **options):
    """A trace in which some layers did not run, as with a cache of blocks; with what it held before that."""
    trace = made.trace(seed=seed, **options)
    whole = [dict(step.attention) for step in trace.steps[:4]]
    for step, there in zip(trace.steps, THERE, strict=False):
        for key in set(step.attention) - there:
            del step.attention[key]
    return trace, whole


@pytest.fixture
def attention() -> AttentionTrace:
    return AttentionTrace.of(cached()[0])


def up_to(maps: np.ndarray, size=(8, 16)) -> np.ndarray:
    return maths.resample(maps.astype(np.float32), size)


def test_coverage_says_what_there_is(attention):
    assert attention.coverage().tolist() == [
        [True, True, True],
        [True, False, False],
        [True, False, True],
        [False, False, False],
    ]
    assert attention.coverage("self").tolist() == [[True], [True], [False], [True]]
    assert attention.rests_on() == "over 3 of 4 steps, 1 to 3 layers"
    assert attention.rests_on("self") == "over 3 of 4 steps, all layers"
    assert attention.within("mid").rests_on() == "over 1 of 4 steps, all layers"
    whole = AttentionTrace.of(made.trace())
    assert whole.coverage().all()
    assert whole.rests_on() is None
    assert whole.rests_on("self") is None
    with pytest.raises(InvalidParams, match="'cross' or 'self'"):
        attention.coverage("both")
    trace, _ = cached()
    for step in trace.steps[1:4]:
        object.__setattr__(
            step, "attention", {key: maps for key, maps in step.attention.items() if key != UP}
        )
        step.attention[DOWN] = trace.steps[0].attention[DOWN]
    assert AttentionTrace.of(trace).rests_on() == "over 4 steps, 1 to 3 layers"
    del trace.steps[0]
    assert AttentionTrace.of(trace).rests_on() == "over 3 steps, 1 of 3 layers"
    # Where only reading tells it is found out so.
    steps = {s.index: s.attention for s in cached()[0].steps[:4]}
    asked = replace(attention, held=None, read=lambda step, key: steps[step][key])
    assert (asked.coverage() == attention.coverage()).all()


def test_maps_are_means_over_the_layers_that_ran(attention):
    _, whole = cached()
    by_step = [np.mean([up_to(whole[k][key][0]) for key in sorted(THERE[k] - {OWN})], 0) for k in range(3)]
    maps = attention.maps()
    assert maps.shape == (4, 12, 8, 16)
    assert maps[:3] == pytest.approx(np.stack(by_step), abs=1e-6)
    assert np.isnan(maps[3]).all()
    circle = [m[3:5].mean(0) for m in by_step]
    assert attention.word_maps("circle")[:3] == pytest.approx(np.stack(circle), abs=1e-6)
    assert np.isnan(attention.word_maps("circle")[3]).all()
    assert attention.word_map("circle") == pytest.approx(np.mean(circle, 0), abs=1e-6)
    assert attention.word_map("circle", steps=[1, 3]) == pytest.approx(circle[1], abs=1e-6)
    with pytest.raises(CapabilityError, match="At step 3 there is no attention of down"):
        attention.word_map("circle", steps=3)
    with pytest.raises(CapabilityError, match="Step 1 holds no attention of mid_block"):
        attention.token_maps(1, "mid")
    assert np.isfinite(attention.overlay(np.zeros((16, 32, 3), np.uint8), "red")).all()


def test_measures_are_over_what_there_is(attention):
    _, whole = cached()
    entropy = attention.entropy()
    for k in range(4):
        for i, key in enumerate((DOWN, MID, UP)):
            if key in THERE[k]:
                own = scipy_entropy(whole[k][key][0].astype(np.float64), axis=0).mean()
                assert entropy[k, i] == pytest.approx(own, abs=1e-4)
            else:
                assert np.isnan(entropy[k, i])
    assert np.isnan(attention.entropy("self")[:, 0]).tolist() == [False, False, True, False]
    active = attention.activation()
    for k in range(3):
        own = np.mean([whole[k][key][0].mean((1, 2), dtype=np.float64) for key in THERE[k] - {OWN}], 0)
        assert active[k] == pytest.approx(own, abs=1e-6)
    assert np.isnan(active[3]).all()
    scores = {t.index: s for t, s in attention.dominance()}
    assert [scores[i] for i in range(12)] == pytest.approx(active[:3].mean(0))
    # Of the layers that the step before has as well: at step 1 and 2 the finest alone.
    between = [scipy_entropy(whole[k][DOWN][0], whole[k - 1][DOWN][0], axis=0).mean() for k in (1, 2)]
    kl = attention.kl()
    assert kl[0] is None
    assert kl[3] is None
    assert kl[1:3] == pytest.approx(between, abs=1e-3)
    assert attention.spikes() == []


def test_looking_from_a_place_takes_the_layers_that_ran(attention):
    _, whole = cached()
    own = whole[1][OWN][0].astype(np.float32)
    assert attention.looks_at(1, (0.3, 0.8)) == pytest.approx(own[3, 2] * 32, rel=1e-5)
    with pytest.raises(CapabilityError, match="At step 2 there is no attention of up_blocks"):
        attention.looks_at(2, (0.3, 0.8))


@pytest.mark.parametrize("heads", [0, 2])
def test_heat_maps_count_every_layer_alike(heads):
    """A layer that ran at 2 of 4 steps counts as if the other 2 were like them on average."""
    trace, whole = cached(heads=heads)
    attention = AttentionTrace.of(trace)
    layers = []
    for key in (DOWN, UP):
        ran = [k for k in range(4) if key in THERE[k]]
        total = np.sum([whole[k][key][0].astype(np.float32) for k in ran], 0) * (4 / len(ran))
        layers += [up_to_cubic(head) for head in total.reshape(-1, *total.shape[-3:])]
    assert attention.daam(size=(8, 16)) == pytest.approx(np.mean(layers, 0), abs=1e-5)
    assert attention.daam("red", steps=1, size=(8, 16)).shape == (8, 16)
    with pytest.raises(CapabilityError, match="At step 3 there is no attention"):
        attention.daam("red", steps=3)


def up_to_cubic(maps: np.ndarray) -> np.ndarray:
    return np.maximum(maths.resample(maps, (8, 16), "bicubic"), 0)


def test_two_runs_are_compared_in_the_layers_that_both_have():
    one = AttentionTrace.of(cached()[0])
    other = AttentionTrace.of(made.trace(seed=1))
    found = js(one, other)
    assert found.steps == (0, 1, 2, 3)
    alike = js(one.within("down"), other.within("down"))
    assert found.values[1] == pytest.approx(alike.values[1])
    both = js(one.within(["down", "up"]), other.within(["down", "up"]))
    assert found.values[2] == pytest.approx(both.values[2])
    assert np.isnan(found.values[3]).all()
    assert np.isnan(found.by_step).tolist() == [False, False, False, True]
    # A layer of which only one of the runs has maps says nothing of both.
    assert np.isnan(js(one.within("mid"), other.within("mid")).values[1:]).all()


def test_a_run_that_has_everything_is_as_without_all_this():
    """To the last bit what plain means over all layers and steps give."""
    trace = made.trace()
    attention = AttentionTrace.of(trace)
    stored = [{k: s.attention[k][0].astype(np.float32) for k in (DOWN, MID, UP)} for s in trace.steps[:4]]
    by_step = []
    for maps in stored:
        total = 0.0
        for key in (DOWN, MID, UP):
            total = total + maths.resample(maps[key], (8, 16))
        by_step.append((total / np.float32(3)).astype(np.float32))
    words = np.stack(by_step)[:, [3, 4]].mean(1)
    assert (attention.maps() == np.stack(by_step)).all()
    assert (attention.word_map("circle") == words.mean(0)).all()
    active = np.zeros((4, 12))
    for k, maps in enumerate(stored):
        for key in (DOWN, MID, UP):
            active[k] += maths.activation(maps[key]) / 3
    assert (attention.activation() == active).all()
    assert [s for _, s in attention.dominance()] == sorted(active.mean(0).tolist(), reverse=True)
    assert attention.kl()[1:] == attention.measures.kl.mean(1)[1:].tolist()
    found = js(attention, AttentionTrace.of(made.trace(seed=1)))
    assert found.values.dtype == np.float64
    assert np.isfinite(found.values).all()


def test_means_over_what_there_is():
    values = np.array([[1.0, 2.0, 4.0], [np.nan, 2.0, 3.0], [np.nan] * 3])
    assert mean_there(values, 1)[:2].tolist() == [values[0].mean(), 2.5]
    assert np.isnan(mean_there(values, 1)[2])
    assert mean_there(values, 0).tolist() == [1.0, 2.0, 3.5]
    assert mean_there(values[0], 0) == values[0].mean()
    assert mean_there(values.astype(np.float32), 0).dtype == np.float32
    assert mean_there(np.zeros((0, 3)).reshape(3, 0), 0).shape == (0,)


def run_of(trace) -> Run:
    steps = tuple(step for step in trace.steps if step.attention)
    return Run(
        id="20260131-120000-00000001",
        params=GenerationParams(prompt="a red circle and a blue square", seed=1),
        status="complete",
        created="2026-01-31T12:00:00.000+00:00",
        initial_latents=trace.initial_latents,
        initial_sigma=1.0,
        total_steps=len(steps),
        steps=steps,
        provenance=trace.provenance,
        capture=trace.capture,
    )


def test_a_stored_run_is_as_the_live_one(tmp_path, attention):
    run = run_of(cached()[0])
    library = Library(tmp_path)
    library.save(run)
    stored = attention_of(library.open(run.id))
    assert (stored.coverage() == attention.coverage()).all()
    for name in ("maps", "daam", "entropy", "activation"):
        np.testing.assert_array_equal(getattr(stored, name)(), getattr(attention, name)())
    np.testing.assert_array_equal(stored.word_map("red"), attention.word_map("red"))
    np.testing.assert_array_equal(stored.entropy("self"), attention.entropy("self"))
    assert stored.kl() == attention.kl()
    readings, opened = Readings(), library.open(run.id)
    assert np.isnan(readings.maps(opened, Look())[3]).all()
    assert np.isfinite(readings.daam(opened, Look())).all()
    told = described(stored, stored, stored.measures)
    assert told["rests_on"] == "over 3 of 4 steps, 1 to 3 layers"
    assert told["entropy"][3] is None
    assert told["entropy"][1] == pytest.approx(attention.entropy()[1, 0], rel=1e-5)
    json.dumps(told, allow_nan=False)
    assert "rests_on" not in described(
        *[AttentionTrace.of(made.trace())] * 2, AttentionTrace.of(made.trace()).measures
    )


def test_the_command_says_what_its_means_rest_on(tmp_path, monkeypatch, capsys, attention):
    from diffatlas import cli

    run, whole = run_of(cached()[0]), replace(run_of(made.trace()), id="20260131-120000-00000003")
    for each in (run, whole):
        Library(tmp_path).save(each)
    monkeypatch.setenv("DIFFATLAS_LIBRARY", str(tmp_path))
    assert cli.run(["attention", run.id, "--word", "red"]) == 0
    *table, words, places = capsys.readouterr().out.splitlines()
    assert words == "Attention to words: over 3 of 4 steps, 1 to 3 layers."
    assert places == "Attention between places: over 3 of 4 steps, all layers."
    assert f"{attention.entropy()[1, 0]:.3g}" in table[2]
    assert cli.run(["attention", whole.id]) == 0
    assert "over" not in capsys.readouterr().out


def test_a_static_folder_has_what_there_is(tmp_path):
    from diffatlas.formats.static import write as static_folder

    run = run_of(cached()[0])
    rng = np.random.default_rng(0)
    states = [rng.normal(size=(1, 4, 8, 16)).astype(np.float32) for _ in run.steps]
    picture = np.zeros((1, 16, 32, 3), np.uint8)
    steps = (replace(s, latents=x, preview=picture) for s, x in zip(run.steps, states, strict=True))
    run = replace(run, steps=tuple(steps), images=(picture[0],))
    planned = static_folder.plan(run)
    folder = static_folder.write(planned, tmp_path / "static")
    metadata = json.loads((folder / "metadata.json").read_text())
    files = [(f["step"], f["attention_type"]) for f in metadata["attention_files"]]
    assert sorted(files) == sorted(
        (k, key.partition(":")[0]) for k, there in enumerate(THERE) for key in there
    )
    assert all((folder / f["path"]).is_file() for f in metadata["attention_files"])


def test_a_run_without_attention_says_why():
    bare = made.trace()
    for step in bare.steps:
        object.__setattr__(step, "attention", None)
    bare.provenance["missing"] = {"attention": "Its attention is compiled away."}
    with pytest.raises(CapabilityError, match="compiled away"):
        AttentionTrace.of(bare)
    bare.missing = {"attention": "This one knows better."}
    with pytest.raises(CapabilityError, match="knows better"):
        AttentionTrace.of(bare)


def test_a_stored_run_without_attention_says_why(tmp_path):
    trace = made.trace()
    run = run_of(trace)
    run = replace(
        run,
        steps=tuple(replace(step, attention=None) for step in run.steps),
        provenance={"missing": {"attention": "Its attention is compiled away."}},
    )
    library = Library(tmp_path)
    library.save(run)
    with pytest.raises(CapabilityError, match="compiled away"):
        attention_of(library.open(run.id))
