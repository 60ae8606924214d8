"""Figures of attention: the numbers of `AttentionTrace`, words in order, layers and spikes told apart."""

import dataclasses
import math

import numpy as np
import pytest

from diffatlas import Library, figures
from diffatlas.attention.compare import js
from diffatlas.attention.info import mean_there
from diffatlas.attention.trace import AttentionTrace
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.look import NIGHT, RAMP
from tests.attended_runs import WORDS, run_of
from tests.figures.written import HOSTILE, written

OWN = {"up_blocks.0.attn1": ((16, 16), (4, 4), "up")}


def of(figure, metric, **meta):
    """The traces of a measure whose ``meta`` has all of these."""
    return [
        t
        for t in figure.data
        if t.meta["measure"] == metric and all(t.meta.get(k) == v for k, v in meta.items())
    ]


def matrix(figure):
    (one,) = [t for t in figure.data if t.type == "heatmap"]
    return one


def renamed(run, number, text):
    """The run with another word at a place of its prompt."""
    told = run.provenance["attention"]
    table = [{**t, "text": text, "word_text": text} if t["word"] == number else t for t in told["text"]]
    return dataclasses.replace(run, provenance={**run.provenance, "attention": {**told, "text": table}})


def moving(at, steps=8):
    """A run whose attention stays as it is but for what step ``at`` changes."""
    run = run_of(5, steps=steps)
    maps = [run.steps[0].attention] * at + [run.steps[1].attention] * (steps - at)
    return dataclasses.replace(
        run, steps=tuple(dataclasses.replace(s, attention=m) for s, m in zip(run.steps, maps, strict=True))
    )


def test_words_stand_in_the_order_of_the_prompt_with_their_activation():
    run = run_of(1, steps=4)
    one = matrix(figures.attention_words(run))
    assert list(one.meta["words"]) == WORDS
    activation = AttentionTrace.of(run).activation()
    np.testing.assert_allclose(np.array(one.z, float), activation[:, 1 : len(WORDS) + 1].T)
    assert list(one.x) == [1, 2, 3, 4]
    assert [colour for _, colour in one.colorscale] == list(RAMP)
    assert one.zmin == 0
    assert one.zmax == pytest.approx(activation[:, 1 : len(WORDS) + 1].max())


def test_two_equal_words_are_two_rows_and_the_first_is_on_top():
    axis = figures.attention_words(run_of(1)).layout.yaxis
    assert list(axis.ticktext) == WORDS
    assert axis.range[0] > axis.range[1]


def test_specials_come_on_request_as_one_row():
    run = run_of(1)
    one = matrix(figures.attention_words(run, special=True))
    assert list(one.meta["words"]) == ["startoftext", *WORDS, "endoftext × 69"]
    activation = AttentionTrace.of(run).activation()
    np.testing.assert_allclose(np.array(one.z, float)[-1], activation[:, len(WORDS) + 1 :].mean(1))


def test_by_row_each_word_has_colours_of_its_own_and_the_same_numbers():
    run = run_of(1)
    together, apart = (figures.attention_words(run, special=True, by_row=by_row) for by_row in (False, True))
    rows = [t for t in apart.data if t.type == "heatmap"]
    np.testing.assert_array_equal(np.concatenate([t.z for t in rows]), np.array(matrix(together).z))
    assert [(t.zmin, t.zmax) for t in rows] == [(0, pytest.approx(np.max(t.z))) for t in rows]
    assert [list(t.y) for t in rows] == [[k] for k in range(len(WORDS) + 2)]
    assert not any(t.showscale for t in rows)
    assert "colours of its own" in apart.layout.meta["says"]
    assert "colours of its own" not in together.layout.meta["says"]


def test_a_row_is_called_as_the_line_of_its_word():
    run = run_of(1)
    words = [f"word {k}" for k in range(len(WORDS))]
    assert list(matrix(figures.attention_words(run)).meta["rows"]) == words
    rows = matrix(figures.attention_words(run, special=True)).meta["rows"]
    assert list(rows) == ["special 0", *words, f"special {len(WORDS) + 1}"]
    lines = [
        t.meta["line"] for t in figures.attention_curves(run).data if t.meta.get("measure") == "activation"
    ]
    assert lines == words


def test_a_stored_run_and_a_look_at_some_layers_are_drawn_too(tmp_path):
    run = run_of(1)
    library = Library(tmp_path)
    library.save(run)
    np.testing.assert_array_equal(
        np.array(matrix(figures.attention_words(library.open(run.id))).z),
        np.array(matrix(figures.attention_words(run)).z),
    )
    up = AttentionTrace.of(run).within("up")
    np.testing.assert_allclose(
        np.array(matrix(figures.attention_words(up)).z, float), up.activation()[:, 1 : len(WORDS) + 1].T
    )


def test_steps_without_attention_are_left_out_and_missing_layers_are_said():
    run = run_of(1, steps=6, every=2)
    assert list(matrix(figures.attention_words(run)).x) == [1, 3, 5]
    key = "cross:down_blocks.0.attn2"
    gap = [
        {k: v for k, v in (s.attention or {}).items() if k != key or s.index == 0} or None for s in run.steps
    ]
    partly = dataclasses.replace(
        run, steps=tuple(dataclasses.replace(s, attention=m) for s, m in zip(run.steps, gap, strict=True))
    )
    assert "1 to 2 layers" in figures.attention_words(partly).layout.meta["says"]
    curve = figures.attention_curves(partly)
    (down,) = of(curve, "attention_entropy", layer="down_blocks.0.attn2")
    assert down.y[0] > 0
    assert list(down.y[1:]) == [None, None]


def test_entropy_is_drawn_of_each_layer_and_their_mean():
    run = run_of(1, own=OWN)
    measures = AttentionTrace.of(run).measures
    figure = figures.attention_curves(run)
    lines = [t for t in of(figure, "attention_entropy") if t.meta.get("layer")]
    np.testing.assert_allclose(np.array([t.y for t in lines]).T, measures.entropy)
    assert len({(t.line.color, t.line.dash) for t in lines}) == len({t.line.dash for t in lines}) == 2
    (mean,) = [t for t in of(figure, "attention_entropy") if not t.meta.get("layer")]
    np.testing.assert_allclose(mean.y, measures.entropy.mean(1))
    (own,) = of(figure, "self_attention_entropy")
    np.testing.assert_allclose(own.y, measures.self_entropy[:, 0])
    assert f"{math.log(77):.3g} nats" in figure.layout.meta["says"]


def test_layers_of_one_part_share_a_look_where_there_are_many():
    parts = ("down", "mid", "up")
    run = run_of(1, cross={f"{p}_blocks.{k}.attn2": ((4, 4), p) for p in parts for k in range(4)})
    lines = [t for t in of(figures.attention_curves(run), "attention_entropy") if t.meta.get("layer")]
    assert len(lines) == 12
    assert [t.name for t in lines if t.showlegend] == [f"layers, {p}" for p in parts]
    looks = {(t.name, t.line.color, t.line.dash) for t in lines}
    assert len(looks) == len({dash for *_, dash in looks}) == 3


def test_the_step_at_which_attention_moves_is_ringed():
    run = moving(5)
    figure = figures.attention_curves(run)
    (line,) = [t for t in of(figure, "attention_kl") if not t.meta.get("spikes")]
    want = mean_there(AttentionTrace.of(run).measures.kl, 1)
    assert line.y[0] is None
    np.testing.assert_allclose(np.array(line.y[1:], float), want[1:])
    (ring,) = of(figure, "attention_kl", spikes=True)
    assert list(ring.x) == [6]
    assert list(ring.y) == [want[5]]
    assert "moves most at step 6 (ringed)" in figure.layout.meta["says"]
    calm = figures.attention_curves(run_of(1))
    assert "no spike" in calm.layout.meta["says"]
    assert not of(calm, "attention_kl", spikes=True)[0].x


def test_one_captured_step_has_no_reallocation_and_says_so():
    words = written(figures.attention_curves(run_of(1, steps=1)))
    assert "There is one captured step, and none before it." in words


def test_divergence_is_that_of_the_two_runs_in_the_words_they_share():
    a, b = run_of(1), renamed(run_of(2), 1, "green")
    found = js(AttentionTrace.of(a), AttentionTrace.of(b))
    figure = figures.attention_divergence(a, b, dark=True)
    (mean,) = of(figure, "attention_js", mean=True)
    np.testing.assert_allclose(mean.y, found.by_step)
    one = matrix(figure)
    shared = [word for word in WORDS if word != "red"]
    assert list(one.meta["words"]) == shared
    columns = [k for k, (x, _) in enumerate(found.tokens) if not x.special]
    np.testing.assert_allclose(np.array(one.z, float), found.values[:, columns].T)
    most = int(found.by_step.argmax())
    assert f"Most apart at step {most + 1}: {found.by_step[most]:.3g} nats" in figure.layout.meta["says"]
    assert figure.layout.template.layout.paper_bgcolor == NIGHT.paper


def test_what_is_missing_is_said():
    plain, own = run_of(1, cross={}), run_of(2, cross={}, own=OWN)
    for draw in (figures.attention_words, figures.attention_curves):
        with pytest.raises(CapabilityError, match="no attention"):
            draw(plain)
    for draw in (figures.attention_words, lambda run: figures.attention_divergence(run, run_of(1))):
        with pytest.raises(CapabilityError, match="no cross-attention"):
            draw(own)
    figure = figures.attention_curves(own)
    assert written(figure).count("Attention to words was not captured") == 3  # the sentence and two charts
    assert of(figure, "self_attention_entropy")
    with pytest.raises(InvalidParams, match="same run"):
        figures.attention_divergence(run_of(1), run_of(1))


def test_words_and_prompts_are_escaped():
    run = dataclasses.replace(
        renamed(run_of(1), 2, HOSTILE), params=run_of(1).params.replace(prompt=HOSTILE, seed=1)
    )
    for figure in (
        figures.attention_words(run),
        figures.attention_curves(run),
        figures.attention_divergence(run, renamed(run_of(2), 2, HOSTILE)),
    ):
        words = written(figure)
        assert "&lt;a href" in words
        assert "<a" not in words
        assert "</script" not in words


def test_each_word_is_a_line_that_the_page_finds_by_its_place():
    run = run_of(1)
    trace = AttentionTrace.of(run)
    lines = of(figures.attention_curves(run), "activation")
    assert [(t.name, t.meta["line"]) for t in lines] == [(word, f"word {k}") for k, word in enumerate(WORDS)]
    np.testing.assert_allclose(np.array([t.y for t in lines]).T, trace.activation()[:, 1 : len(WORDS) + 1])
    a, b = run_of(1), renamed(run_of(2), 1, "green")
    apart = figures.attention_divergence(a, b)
    rows = matrix(apart)
    assert list(rows.meta["rows"]) == [f"word {k}" for k, word in enumerate(WORDS) if word != "red"]
    for row, values in zip(rows.meta["rows"], rows.z, strict=True):
        (line,) = of(apart, "attention_js", line=row)
        assert list(line.y) == list(values)
    assert [1, 1] in apart.layout.meta["pairs"]


class Found:
    """What `diffatlas.operations.attention_boxes` tells of a word."""

    def __init__(self, word, values, nth=0, shape="circle"):
        self.word, self.nth, self.shape, self.found = word, nth, shape, ("one",)
        self.share = self.values = np.array(values, float)
        self.uniform, self.steps, self.holds = 0.25, (0, 1, 2), True


def test_shares_and_bindings_are_drawn_beside_what_chance_gives():
    run = run_of(1)
    words = [Found("red", [0.1, 0.2, 0.3]), Found("blue", [0.3, np.nan, 0.5])]
    pair = type("Pair", (), {"words": tuple(words)})()
    figure = figures.attention_objects(run, words, pair)
    shares = of(figure, "box_share")
    assert [(t.name, t.meta["line"]) for t in shares] == [("red", "word 1"), ("blue", "word 5")]
    assert list(shares[1].y) == [0.3, None, 0.5]
    levels = of(figure, "level")
    assert [t.y[0] for t in levels] == [0.25, 0.25, 0, 0]
    assert [t.line.color for t in levels[:2]] == [t.line.color for t in shares]
    assert [list(t.y) for t in of(figure, "binding")] == [list(t.y) for t in shares]
    seeds = figures.attention_seeds({"a": words[0], "b": words[1]}, "a", names={"a": "seed 1", "b": "seed 2"})
    lines = of(seeds, "binding")
    assert [(t.name, t.line.dash) for t in lines] == [("seed 1", "solid"), ("seed 2", "dash")]
    assert "2 of 2 runs" in seeds.layout.meta["spoken"]
