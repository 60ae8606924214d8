"""What the page asks of the server, on runs of the embedded model, against the functions of the geometry."""

from __future__ import annotations

import base64
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from diffatlas.capture.spec import Capture
from diffatlas.geometry import path as measures
from diffatlas.library import Library
from diffatlas.measured import SHOWN, STEP_METRICS
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.params import GenerationParams
from diffatlas.run import collect
from diffatlas.ui.layers import Layers
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.services import Services
from diffatlas.ui.visitors import COOKIE, visitor_of

SECRET, STRANGER = "1" * 32, "2" * 32
STEPS = {"one": 5, "two": 5, "three": 8, "wide": 4}


def request_of(secret):
    return SimpleNamespace(cookies={COOKIE: secret} if secret else {})


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Four runs, the layers of one visitor, all locked but the last; and the calls that the page may make."""
    library = Library(tmp_path_factory.mktemp("runs"))
    layers = Layers(Libraries(library.folder))
    visitor = visitor_of(request_of(SECRET))
    services = Services(layers, shared_local_backend(), {"shapes": "Shapes"})
    runs = {}
    for seed, (name, steps) in enumerate(STEPS.items()):
        params = GenerationParams(
            prompt="a red circle", seed=seed, num_inference_steps=steps, guidance_scale=3, width=64,
            height=96 if name == "wide" else 64,
        )  # fmt: skip
        capture = Capture(previews="every", preview_decoder="vae" if name == "one" else "linear")
        run = collect(stream(params, capture, library=library))
        runs[name] = run
        layers.begin(visitor, run.id, name)
        if name != "wide":
            layers.lock(visitor, run.id)
    calls = {call.__name__: call for call in services.functions}

    def ask(name, secret=SECRET, /, **asked):
        answer = calls[name](asked, request_of(secret))
        if hasattr(answer, "body"):
            return json.loads(answer.body)
        json.dumps(answer, allow_nan=False)  # what cannot be sent is found here
        return answer

    return SimpleNamespace(ask=ask, runs=runs, ids={name: run.id for name, run in runs.items()})


def floats(text, *shape):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(shape)


def test_layers_are_described_from_their_runs(room):
    layers = room.ask("layers")["layers"]
    assert [layer["name"] for layer in layers] == list(STEPS)
    assert [layer["locked"] for layer in layers] == [True, True, True, False]
    assert layers[2]["steps"] == STEPS["three"]
    assert layers[3]["latent_shape"] == list(room.runs["wide"].latents.shape[2:])


def test_data_of_a_stored_run_is_that_of_the_run(room):
    run = room.runs["three"]
    data = room.ask("run_data", id=run.id)
    assert data["status"] == "complete"
    assert data["run"]["seed"] == run.params.seed
    assert [metric["name"] for metric in data["metrics"]] == [metric.name for metric in SHOWN]
    for at, metric in enumerate(STEP_METRICS):
        expected = [step.metrics[metric.name] for step in run.steps]
        assert [step["metrics"][at] for step in data["steps"]] == pytest.approx(expected, rel=1e-5)
    to_end = measures.distances_to_end(run.latents)[1:, 0]
    assert data["final"]["distance_to_end"] == pytest.approx(to_end.tolist(), rel=1e-5)
    moves = measures.step_lengths(run.latents)[:, 0].sum()
    assert data["totals"]["path_length"] == pytest.approx(moves, rel=1e-5)
    assert data["totals"]["seconds"] == pytest.approx(run.seconds, rel=1e-5)


def test_small_histogram_counts_the_pixels_of_the_preview(room):
    run = room.runs["one"]
    text = room.ask("run_data", id=run.id)["steps"][-1]["histogram"]
    bars = np.frombuffer(base64.b64decode(text), np.uint8).reshape(3, 16)
    pixels = run.steps[-1].preview[0]
    counts = np.stack([np.histogram(pixels[..., c], bins=16, range=(0, 256))[0] for c in range(3)])
    np.testing.assert_array_equal(bars, np.rint(counts * 255 / counts.max()))


def test_projection_keeps_distances_and_names_its_axes(room):
    ids = [room.ids["one"], room.ids["three"]]
    found = room.ask("project", view="pca", ids=ids, fit="all")
    assert sum(found["axes"]) <= 1.00001
    coords = [floats(found["coords"][run], -1, 3) for run in ids]
    assert [len(part) for part in coords] == [6, 9]
    assert set(found["captured"]) == set(ids)
    # Projected distances never exceed those of the latents.
    states = np.concatenate([room.runs[name].latents.reshape(len(part), -1) for name, part in zip(
        ("one", "three"), coords, strict=True)]).astype(float)  # fmt: skip
    drawn = np.concatenate(coords).astype(float)
    apart = np.linalg.norm(states[:, None] - states[None], axis=-1)
    assert (np.linalg.norm(drawn[:, None] - drawn[None], axis=-1) <= apart + 1e-3).all()


def test_layers_of_different_shapes_are_not_drawn_together(room):
    found = room.ask("project", view="pca", ids=[room.ids["one"], room.ids["wide"]], fit="all")
    assert "different shapes" in found["error"]["message"]


def test_a_step_is_shown_with_its_own_pictures_and_numbers(room):
    run = room.runs["one"]
    found = room.ask("step", id=run.id, index=2, decode=False)
    assert [picture["key"] for picture in found["pictures"]] == ["x_t", "x0", "cond", "uncond"]
    assert found["decoder"] == "vae"
    assert all(picture["width"] == picture["height"] == 64 for picture in found["pictures"])
    counts = np.array([trace["y"] for trace in found["histogram"]["data"]])
    assert counts.shape == (4, 64)
    assert (counts.sum(1) == 64 * 64).all()
    for channel, values in enumerate(counts[:3]):
        own = np.histogram(run.steps[2].preview[0][..., channel], bins=64, range=(0, 256))[0]
        np.testing.assert_array_equal(values, own)
    luma = run.steps[2].preview[0] / 255 @ np.array([0.2126, 0.7152, 0.0722])
    values = {entry["key"]: entry["value"] for entry in found["scalars"]}
    measured = {entry["label"]: entry["value"] for entry in found["statistics"]}
    assert measured["Luma, mean"] == pytest.approx(luma.mean(), rel=0.01)
    assert values["sigma"] == pytest.approx(run.steps[1].sigma, rel=1e-5)
    assert values["sigma_after"] == pytest.approx(run.steps[2].sigma, rel=1e-5)
    assert values["cosine_to_end"] == pytest.approx(run.steps[2].metrics["cosine_to_end"], rel=1e-5)


def test_a_linear_run_is_decoded_when_asked(room):
    plain = room.ask("step", id=room.ids["two"], index=0, decode=False)
    assert plain["decoder"] == "linear"
    assert plain["can_decode"]
    decoded = room.ask("step", id=room.ids["two"], index=0, decode=True)
    assert decoded["decoder"] == "vae"
    assert decoded["pictures"][0]["width"] == 64


def test_change_maps_are_root_mean_squares_of_the_steps(room):
    run = room.runs["two"]
    found = room.ask("deep", id=run.id)
    moves = np.diff(run.latents[:, 0].astype(float), axis=0)
    by_channel = floats(
        found["channels"]["values"], found["channels"]["steps"], found["channels"]["channels"]
    )
    np.testing.assert_allclose(by_channel, np.sqrt((moves**2).mean((2, 3))), rtol=1e-5)
    spatial = found["spatial"]
    by_place = floats(spatial["values"], spatial["steps"], spatial["height"], spatial["width"])
    np.testing.assert_allclose(by_place, np.sqrt((moves**2).mean(1)), rtol=1e-5)
    whole = floats(found["whole"]["values"], found["whole"]["height"], found["whole"]["width"])
    np.testing.assert_allclose(whole, np.sqrt((moves**2).mean((0, 1))), rtol=1e-5)


def test_two_layers_are_compared_step_by_step(room):
    found = room.ask("compare", a=room.ids["one"], b=room.ids["two"], align="auto")
    a, b = (room.runs[name].latents.reshape(6, -1).astype(float) for name in ("one", "two"))
    distance, angle = found["data"]
    assert distance["x"] == list(range(6))
    assert distance["y"] == pytest.approx(np.linalg.norm(a - b, axis=1).tolist(), rel=1e-5)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert angle["y"] == pytest.approx(np.degrees(np.arccos(cosine)).tolist(), rel=1e-4)
    assert "begin apart" in found["layouts"]["1"]["meta"]["says"]
    warped = room.ask("compare", a=room.ids["one"], b=room.ids["three"], align="auto", across=2)
    assert "dynamic time warping" in warped["layouts"]["2"]["meta"]["says"]
    assert warped["data"][0]["x"][-1] == STEPS["one"]
    turned = room.ask("compare", a=room.ids["one"], b=room.ids["three"], align="procrustes")
    assert "unexplained" in turned["layouts"]["1"]["meta"]["says"]
    assert len(turned["data"]) == 1
    same = room.ask("compare", a=room.ids["one"], b=room.ids["one"])
    assert "same layer" in same["error"]["message"]
    apart = room.ask("compare", a=room.ids["one"], b=room.ids["wide"])
    assert "shape" in apart["error"]["message"]


def test_exports_are_files_that_the_browser_may_fetch(room, monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    found = room.ask("export", kind="npz", ids=[room.ids["one"], room.ids["two"]])
    path = found["url"].removeprefix("gradio_api/file=")
    assert path.startswith(str(tmp_path))
    assert path.endswith(found["name"])
    assert sum(name.endswith("latents.npy") for name in zipfile.ZipFile(path).namelist()) >= 2
    assert "no export" in room.ask("export", kind="exe", ids=[room.ids["one"]])["error"]["message"]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("run_data", {}), ("step", {"index": 0}), ("deep", {}), ("project", {"view": "pca"}),
        ("export", {"kind": "json"}), ("edit", {"action": "lock"}), ("edit", {"action": "delete"}),
        ("compare", {}),
    ],
)  # fmt: skip
def test_a_stranger_reads_and_changes_nothing(room, name, asked):
    run = room.ids["one"]
    for secret in (STRANGER, None):
        answer = room.ask(name, secret, id=run, ids=[run], a=run, b=run, **asked)
        assert list(answer) == ["error"]
    assert room.ask("layers", STRANGER)["layers"] == []
    assert len(room.ask("layers")["layers"]) == len(STEPS)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("edit", {"action": "burn"}), ("step", {"index": 99}), ("step", {"index": "0"}), ("step", {"index": None}),
        ("run_data", {"id": {"$ne": 1}}), ("project", {"ids": "all"}), ("project", {"ids": []}),
    ],
)  # fmt: skip
def test_nonsense_is_answered_with_a_sentence(room, name, asked):
    answer = room.ask(name, **{"id": room.ids["one"], **asked})
    assert len(answer["error"]["message"]) > 20
    assert "log" not in answer["error"]["message"], "an unforeseen error"


def test_editing_returns_the_layers_as_they_are_now(room):
    run = room.ids["two"]
    layers = room.ask("edit", action="rename", id=run, name="another")["layers"]
    assert [layer["name"] for layer in layers] == ["one", "another", "three", "wide"]
    layers = room.ask("edit", action="show", id=run, visible=False)["layers"]
    assert [layer["visible"] for layer in layers] == [True, False, True, True]
    room.ask("edit", action="rename", id=run, name="two")
    room.ask("edit", action="show", id=run, visible=True)
