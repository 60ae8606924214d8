"""Runs as lines of JSON, as small clients of `POST /trajectory` read them."""

from __future__ import annotations

import base64
import io
import json

import httpx
import numpy as np
import pytest
from PIL import Image as Pictures

from diffatlas import Capture, GenerationParams
from diffatlas.events import Image, Step
from diffatlas.operations.trace import shared_local_backend
from tests.backends.remote.wires import served, until, watching

ASKED = {"modelId": "shapes", "prompt": "a red circle", "seed": 3, "steps": 5, "cfg": 4.0, "previewEvery": 2}
HEADERS = {"X-Diffusion-Atlas": "a small client"}


@pytest.fixture(scope="module")
def server():
    with served() as server:
        yield server


def picture(url):
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Pictures.open(io.BytesIO(base64.b64decode(data))))


def test_the_lines_are_those_of_the_run(server):
    with httpx.stream("POST", f"{server.url}/trajectory", json=ASKED, headers=HEADERS) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) for line in answer.iter_lines()]
    params = GenerationParams(
        prompt="a red circle", seed=3, num_inference_steps=5, guidance_scale=4.0, model="shapes"
    )
    events = list(shared_local_backend().trace(params, Capture(previews=2, preview_size=96)))
    steps = [event for event in events if isinstance(event, Step)]
    assert [line["event"] for line in lines] == ["start", "model_loading", "ready", *["step"] * 5, "done"]
    assert lines[0]["meta"] == {
        "providerId": "local", "modelId": "shapes", "seed": 3, "steps": 5, "cfg": 4.0, "width": 64, "height": 64,
    }  # fmt: skip
    assert lines[1]["modelId"] == "shapes"
    assert isinstance(lines[1]["alreadyLoaded"], bool)
    assert lines[2]["device"] == "cpu"
    for step, line in zip(steps, lines[3:-1], strict=True):
        assert (line["step"], line["totalSteps"]) == (step.index + 1, 5)
        assert (line["timestep"], line["sigma"]) == (step.timestep, step.sigma)
        latents = np.frombuffer(base64.b64decode(line["latentB64"]), "<f4").reshape(line["shape"])
        assert latents.tobytes() == step.latents.tobytes()
        assert line["latentNorm"] == pytest.approx(np.linalg.norm(step.latents))
        assert line["latentMin"] <= line["latentMean"] <= line["latentMax"]
        assert line["latentStd"] == pytest.approx(step.latents.std())
        assert ("previewDataUrl" in line) == (step.preview is not None)
        if step.preview is not None:
            assert np.array_equal(picture(line["previewDataUrl"]), step.preview[0])
    (image,) = (event.pixels for event in events if isinstance(event, Image))
    assert np.array_equal(picture(lines[-1]["imageDataUrl"]), image)
    assert lines[-1]["responseTimeMs"] > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": ""}, "prompt"),
        ({"steps": 0}, "steps"),
        ({"previewEvery": -1}, "previewEvery"),
        ({"previewSize": "large"}, "preview_size"),
        ({"overrideMemoryCheck": True}, "DIFFATLAS_IGNORE_MEMORY"),
        ({"shots": 3}, "There is no field 'shots'"),
        ({"modelId": "none"}, "none"),
    ],
)
def test_what_cannot_be_is_one_sentence(server, changes, words):
    answer = httpx.post(f"{server.url}/trajectory", json=ASKED | changes, headers=HEADERS)
    assert answer.status_code == 422
    assert words in answer.json()["message"]


def test_a_page_cannot_ask(server):
    assert httpx.post(f"{server.url}/trajectory", json=ASKED).status_code == 401
    origin = {"Origin": "http://localhost:3000"}
    assert httpx.post(f"{server.url}/trajectory", json=ASKED, headers=HEADERS | origin).status_code == 401


def test_a_client_that_leaves_ends_its_run(server):
    with watching(0.05) as watched:
        with httpx.stream(
            "POST", f"{server.url}/trajectory", json=ASKED | {"steps": 200}, headers=HEADERS
        ) as answer:
            lines = answer.iter_lines()
            while json.loads(next(lines))["event"] != "step":
                pass
        assert until(lambda: server.serving.runs.counts[0] == 0)
        assert watched.settled() < 100


def test_a_failure_in_the_middle_is_the_last_line(server):
    def fail(*_):
        raise RuntimeError("broken")

    handle = shared_local_backend().pipeline("shapes").unet.register_forward_pre_hook(fail)
    try:
        answer = httpx.post(f"{server.url}/trajectory", json=ASKED, headers=HEADERS)
    finally:
        handle.remove()
    line = json.loads(answer.text.splitlines()[-1])
    assert line["event"] == "error"
    assert "RuntimeError: broken" in line["message"]
