"""What Replicate is sent, and how its answers are read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from diffatlas.backends import open_backend
from diffatlas.backends.hosted.replicate import Replicate, _job_of
from diffatlas.errors import CapabilityError, ContentRefused, HostedError, InvalidParams, UnknownModel
from diffatlas.params import GenerationParams
from diffatlas.registry import hosted_model
from diffatlas.run import Run, collect
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY
from tests.backends.hosted.test_every_case import QUICK


@pytest.fixture
def fake() -> Iterator[FakeReplicate]:
    with FakeReplicate() as served:
        yield served


def run_of(fake: FakeReplicate, **changes: Any) -> Run:
    params = GenerationParams(
        model=fake.model, prompt="a red circle", seed=7, num_inference_steps=4, guidance_scale=3.0
    )
    backend = open_backend("replicate", key=KEY, url=fake.url, patience=QUICK)
    return collect(backend.trace(params.replace(**changes)))


def test_a_model_is_sent_its_own_inputs(fake: FakeReplicate) -> None:
    run = run_of(fake, width=1536, height=1024)
    assert fake.creations[0].path == "/v1/models/black-forest-labs/flux-dev/predictions"
    assert fake.creations[0].json() == {
        "input": {
            "prompt": "a red circle",
            "seed": 7,
            "num_inference_steps": 4,
            "guidance": 3.0,
            "aspect_ratio": "3:2",
            "output_format": "png",
            "go_fast": False,
        }
    }
    hosted = run.provenance["hosted"]
    assert hosted["sent"] == fake.creations[0].json()
    assert hosted["seed"] == 7
    assert hosted["told"]["metrics"] == {"predict_time": 1.25}
    assert "size" in run.provenance["ignored"]


def test_a_model_of_somebody_runs_in_its_newest_version(fake: FakeReplicate) -> None:
    run = run_of(fake, model="somebody/trained")
    assert run.status == "complete"
    assert fake.creations[-1].json()["version"] == "f" * 64
    assert run.provenance["hosted"]["told"]["version"] == "f" * 64
    assert fake.made == 1


def test_a_version_that_is_asked_for_is_the_one_that_runs(fake: FakeReplicate) -> None:
    run_of(fake, model="somebody/trained", revision="a" * 40)
    run_of(fake, model="somebody/trained:" + "b" * 64)
    assert [one.json()["version"] for one in fake.creations] == ["a" * 40, "b" * 64]


def test_a_model_that_there_is_not_is_told(fake: FakeReplicate) -> None:
    with pytest.raises(UnknownModel):
        run_of(fake, model="nobody/nothing")
    assert fake.made == 0
    with pytest.raises(InvalidParams):
        run_of(fake, model="../../v1/account")


def test_a_seed_beyond_its_range_is_a_finding(fake: FakeReplicate) -> None:
    with pytest.raises(CapabilityError):
        run_of(fake, seed=2**40)


def test_an_answer_that_was_lost_is_found_among_the_newest(fake: FakeReplicate) -> None:
    fake.fail("drop", times=1)
    run = run_of(fake)
    assert run.status == "complete"
    assert fake.made == len(fake.creations) == 1
    # Two alike cannot be told apart: neither is taken.
    fake.predictions["p9"] = dict(fake.predictions["p1"], id="p9")
    fake.fail("drop", times=1)
    with pytest.raises(HostedError, match="paid"):
        run_of(fake)


def test_a_prediction_that_is_stopped_is_ended_at_replicate(fake: FakeReplicate) -> None:
    fake.delay = 60.0
    backend = open_backend("replicate", key=KEY, url=fake.url, patience=QUICK)
    params = GenerationParams(
        model=fake.model, prompt="a red circle", seed=7, num_inference_steps=4, guidance_scale=3.0
    )
    events = backend.trace(params)
    for event in events:
        if event.kind == "started":
            break
    begun = time.monotonic()
    events.close()
    assert time.monotonic() - begun < 5
    assert fake.predictions["p1"]["status"] == "canceled"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, HostedError),
        ([], HostedError),
        ({"id": 3, "status": "succeeded"}, HostedError),
        ({"id": "a", "status": "dancing"}, HostedError),
        ({"id": "a", "status": ["succeeded"]}, HostedError),
        ({"id": "a", "status": "failed", "error": {"message": "out of memory"}}, HostedError),
        ({"id": "a", "status": "failed", "error": "NSFW content detected"}, ContentRefused),
        ({"id": "a", "status": "canceled"}, HostedError),
    ],
)
def test_an_answer_of_another_shape_is_told(body: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        _job_of(body)


def test_what_is_no_text_or_number_is_left_out() -> None:
    job = _job_of(
        {
            "id": "a",
            "status": "succeeded",
            "output": ["u", 3, None],
            "logs": 7,
            "metrics": {"predict_time": [["soon"]], "total_time": 2.5},
            "version": [["x"]],
        }
    )
    assert job.images == ("u",)
    assert job.seed is None
    assert job.told == {"metrics": {"total_time": 2.5}}


def test_arguments_are_those_of_the_registry() -> None:
    model = hosted_model("black-forest-labs/flux-schnell", "replicate")
    params = GenerationParams(model=model.id, prompt="x", seed=1, num_inference_steps=4)
    assert "guidance" not in Replicate().arguments(model, params)["input"]
