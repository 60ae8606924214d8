"""Paths as a figure: the coordinates of the common basis, equal scale, and runs told apart."""

import numpy as np
import pytest

from diffatlas import figures
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.geometry.path import step_lengths
from diffatlas.look import LAYERS, NIGHT, PAPER
from tests.figures.written import HOSTILE, written
from tests.library.made_runs import STEPS, made


def traces(figure, run, ends=False):
    return [t for t in figure.data if t.meta["run"] == run.id and bool(t.meta.get("ends")) == ends]


def principal(*runs):
    """Scores by a plain SVD of all states: an independent way to the same axes, but for their signs."""
    rows = np.concatenate([run.latents[:, 0].reshape(len(run.latents), -1) for run in runs]).astype(float)
    u, s, _ = np.linalg.svd(rows - rows.mean(0), full_matrices=False)
    return (u * s)[:, :3], s**2 / (s**2).sum()


def drawn(figure, *runs):
    parts = [np.stack([trace.x, trace.y, trace.z], 1) for run in runs for trace in traces(figure, run)]
    return np.concatenate(parts)


def test_the_axes_are_the_principal_components_of_all_states():
    runs = [made(1), made(2)]
    figure = figures.path(runs)
    scores, shares = principal(*runs)
    np.testing.assert_allclose(np.abs(drawn(figure, *runs)), np.abs(scores), atol=1e-6)
    scene = figure.layout.scene
    assert scene.aspectmode == "data"
    assert [axis.title.text for axis in (scene.xaxis, scene.yaxis, scene.zaxis)] == [
        f"PC{k + 1} {100 * share:.0f}%" for k, share in enumerate(shares[:3])
    ]


def test_one_run_runs_from_gold_to_burgundy_and_several_have_their_colours():
    for dark, on in ((False, PAPER), (True, NIGHT)):
        alone = figures.path(made(1), dark=dark)
        (line,), (ends,) = traces(alone, made(1)), traces(alone, made(1), ends=True)
        assert [colour for _, colour in line.line.colorscale] == [on.gold, on.burgundy]
        assert list(line.line.color) == [0, 1, 2, 3]
        assert list(ends.marker.color) == [on.gold, on.burgundy]
        assert list(ends.text) == ["noise", "image"]
        assert alone.layout.template.layout.paper_bgcolor == on.paper
    runs = [made(1), made(2)]
    both = figures.path(runs)
    lines = [traces(both, run)[0].line for run in runs]
    assert [line.color for line in lines] == list(LAYERS[:2])
    assert lines[0].dash != lines[1].dash
    assert both.layout.showlegend


def test_a_point_says_its_step_and_the_share_of_the_way_behind_it():
    run = made(1)
    (line,) = traces(figures.path(run), run)
    lengths = step_lengths(run.latents)[:, 0].cumsum()
    want = ["0%", *(f"{100 * v / lengths[-1]:.0f}%" for v in lengths)]
    assert [list(one) for one in line.customdata] == [
        [word, share] for word, share in zip(["noise", "step 1", "step 2", "step 3"], want, strict=True)
    ]


def test_a_run_to_fit_on_gives_its_own_axes():
    runs = [made(1), made(2)]
    figure = figures.path(runs, fit=1)
    scores, _ = principal(runs[1])
    np.testing.assert_allclose(np.abs(drawn(figure, runs[1])), np.abs(scores), atol=1e-6)
    assert runs[1].params.prompt in figure.layout.meta["says"]
    with pytest.raises(InvalidParams, match="fit on"):
        figures.path(runs, fit=2)


def test_umap_warns_of_few_points_and_needs_some(monkeypatch):
    asked = []

    def embedded(matrix):
        asked.append(matrix)
        return np.arange(3.0 * len(matrix)).reshape(-1, 3)

    monkeypatch.setattr("diffatlas.geometry.embedding.umap", embedded)
    runs = [made(1), made(2)]
    figure = figures.path(runs, space="umap")
    rows = np.concatenate([run.latents[:, 0].reshape(STEPS + 1, -1) for run in runs]).astype(float)
    np.testing.assert_allclose(asked[0], np.linalg.norm(rows[:, None] - rows, axis=-1), atol=1e-5)
    np.testing.assert_array_equal(drawn(figure, *runs), np.arange(24.0).reshape(8, 3))
    assert "Only 8 points" in figure.layout.meta["says"]
    assert figure.layout.scene.xaxis.title.text == "UMAP 1"
    many = [made(k) for k in range(4)]
    assert "Only" not in figures.path(many, space="umap").layout.meta["says"]
    with pytest.raises(InvalidParams, match="at least 5 states"):
        figures.path(made(1), space="umap")
    with pytest.raises(InvalidParams, match="pca, umap"):
        figures.path(made(1), space="tsne")


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(CapabilityError, match="not captured"):
        figures.path(made(1, initial_latents=None))
    with pytest.raises(CapabilityError, match="different shapes"):
        figures.path([made(1), made(2, side=8)])
    broken = made(1)
    broken.steps[1].latents[0, 0, 0, 0] = np.nan
    with pytest.raises(CapabilityError, match="from step 2 on"):
        figures.path(broken)


def test_names_are_escaped():
    words = written(figures.path([made(1, prompt=HOSTILE), made(2)], fit=0))
    assert "&lt;a" in words
    assert "<a" not in words
    assert "</script" not in words
