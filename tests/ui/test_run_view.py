"""What the browser is sent, against the events it was made from."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture
from sklearn.decomposition import PCA

from diffatlas.errors import InvalidParams
from diffatlas.events import Failed, Finished, Started, Step
from diffatlas.measured import STEP_METRICS
from diffatlas.params import GenerationParams
from diffatlas.ui.components.pictures import PREVIEW_BYTES, preview_uri
from diffatlas.ui.components.run_view import RunView

STEPS = 12


@pytest.fixture
def path():
    """A curved random path, x_T first: (STEPS + 1, 1, 4, 8, 8)."""
    rng = np.random.default_rng(3)
    ends = rng.normal(size=(3, 1, 4, 8, 8))
    t = np.linspace(0, 1, STEPS + 1).reshape(-1, 1, 1, 1, 1)
    return ((1 - t) * ends[0] + t * ends[1] + t * (1 - t) * ends[2]).astype(np.float32)


def events(path):
    params = GenerationParams(prompt="a red circle", seed=7, width=64, height=64, scheduler="ddim")
    yield Started("20260101-000000-00000000", params, path[0], 14.6, STEPS, {"device": "cpu"})
    picture = np.zeros((1, 64, 64, 3), np.uint8)
    for index, latents in enumerate(path[1:]):
        metrics = {"norm": 1 / 3, "step_length": 1.0, "std": float("nan")}
        yield Step(index, 999 - index, 10 - index / 2, latents, metrics=metrics, preview=picture)


def coords(value):
    return np.frombuffer(base64.b64decode(value["points"]), "<f4").reshape(-1, 3)


def pairwise(points):
    return np.linalg.norm(points[:, None] - points[None], axis=-1)


def test_path_grows_by_a_point_a_step_and_ends_in_the_pca(path):
    view = RunView("a red circle", "Shapes", "visitor")
    for count, event in enumerate(events(path)):
        view.add(event)
        assert coords(view.value()).shape == (count + 1, 3)
        assert view.value()["axes"] is None
    view.add(Finished("complete", 1.5))
    value = view.value()

    reference = PCA(3).fit(path.reshape(STEPS + 1, -1))
    scores = reference.transform(path.reshape(STEPS + 1, -1))
    np.testing.assert_allclose(np.abs(coords(value)), np.abs(scores), atol=1e-4)
    np.testing.assert_allclose(value["axes"], reference.explained_variance_ratio_, atol=1e-5)


def test_distances_on_screen_are_those_of_the_data(path):
    """A path in a plane is shown without distortion, at every moment of the run."""
    view = RunView("", "Shapes", "visitor")
    for count, event in enumerate(events(path)):
        view.add(event)
        flat = path[: count + 1].reshape(count + 1, -1)
        np.testing.assert_allclose(pairwise(coords(view.value())), pairwise(flat), atol=1e-3)


def test_values_can_be_sent_and_told_apart(path):
    """Gradio sends the difference of two values: an earlier one must not change with a later event."""
    view = RunView("a red circle", "Shapes", "visitor")
    sent, copies = [], []
    for event in events(path):
        view.add(event)
        sent.append(view.value())
        copies.append(json.dumps(sent[-1], allow_nan=False))  # NaN would not be JSON
    assert [json.dumps(value) for value in sent] == copies
    step = sent[-1]["steps"][0]
    assert len(step["metrics"]) == len(STEP_METRICS)
    assert step["metrics"][0] == 0.333333


def test_totals_of_a_stopped_run(path):
    view = RunView("", "Shapes", "visitor")
    for event in list(events(path))[:5]:
        view.add(event)
    view.add(Finished("stopped", 0.5))
    totals = view.value()["totals"]
    moves = np.linalg.norm(np.diff(path[:5].reshape(5, -1).astype(float), axis=0), axis=1)
    assert totals["path_length"] == pytest.approx(moves.sum(), rel=1e-5)
    chord = np.linalg.norm((path[4] - path[0]).astype(float))
    assert totals["straightness"] == pytest.approx(chord / moves.sum(), rel=1e-5)
    assert totals["chord"] == pytest.approx(chord, rel=1e-5)
    assert len(view.value()["steps"]) == 4
    ends = np.linalg.norm((path[1:5] - path[4]).reshape(4, -1).astype(float), axis=1)
    assert view.value()["final"]["distance_to_end"] == pytest.approx(ends, rel=1e-5)


def test_what_is_not_read_is_said_from_the_start_to_the_end(path):
    view = RunView("a cat", "Shapes", "visitor")
    prompt = {"unknown": [{"of": "prompt", "words": ["cat"]}], "known": {"shapes": ["star", "ring"]}}
    first, *rest = events(path)
    view.add(replace(first, provenance={"device": "cpu", "prompt": prompt}))
    said = ["The model was never taught: cat."]
    assert (view.value()["notes"], view.value()["run"]["known"]) == (said, [("shapes", ["star", "ring"])])
    for event in (*rest, Finished("complete", 0.5, [], {"previews": "No VAE."})):
        view.add(event)
    assert view.value()["notes"] == [*said, "Not recorded: previews. No VAE."]


def test_what_only_the_end_tells_is_not_told_before(path):
    view = RunView("", "Shapes", "visitor")
    for event in events(path):
        view.add(event)
    assert view.value()["final"] is None
    assert view.value()["totals"] is None
    view.add(Finished("complete", 0.5))
    assert len(view.value()["final"]["cosine_to_end"]) == STEPS


def test_failure_keeps_what_arrived_and_names_the_field_of_the_form(path):
    view = RunView("", "Shapes", "visitor")
    for event in list(events(path))[:4]:
        view.add(event)
    view.add(Failed("invalid_params", "The width is 63.", "width"))
    value = view.value()
    assert value["status"] == "failed"
    assert value["error"] == {"field": "size", "message": "The width is 63."}
    assert len(value["steps"]) == 3

    early = RunView("", "Shapes", "visitor").failed(InvalidParams("The prompt is empty.", field="prompt"))
    assert early["error"]["field"] == "prompt"
    assert early["run"] is None


@pytest.mark.parametrize("side", [16, 64, 512])
def test_preview_is_small_and_keeps_its_shape(side):
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, side)
    smooth = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], 128.0), axis=-1).astype(np.uint8)
    noise = rng.integers(0, 256, (side, 2 * side, 3), dtype=np.uint8)
    for pixels in (smooth, noise):
        data = base64.b64decode(preview_uri(pixels).removeprefix("data:image/webp;base64,"))
        width, height = Picture.open(io.BytesIO(data)).size
        assert max(width, height) <= 96
        assert width / height == pixels.shape[1] / pixels.shape[0]
        if pixels is smooth:
            assert len(data) <= PREVIEW_BYTES
