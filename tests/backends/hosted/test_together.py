"""What is sent to Together AI for a model, and how its answers are read."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from diffatlas.backends import open_backend
from diffatlas.errors import InvalidParams
from diffatlas.events import Failed, Finished, Waiting
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from tests.backends.hosted.fakes.server import KEY, Reply, Seen, png
from tests.backends.hosted.fakes.together import FakeTogether
from tests.backends.hosted.test_every_case import QUICK, asked, backend_of, events_of


class Told(FakeTogether):
    """Answers the request for an image with what it is told to."""

    told: Any = None

    def reply(self, seen: Seen) -> Reply | None:
        if self.creates(seen) and self.told is not None:
            return self.told if isinstance(self.told, Reply) else Reply(self.told)
        if seen.path.startswith("/files/"):
            return self.picture_reply(seen)
        return super().reply(seen)


@pytest.fixture
def fake() -> Iterator[Told]:
    with Told() as served:
        yield served


BODIES: dict[str, dict[str, Any]] = {
    "black-forest-labs/FLUX.2-dev": {
        "steps": 20,
        "guidance_scale": 4.0,
        "width": 1024,
        "height": 768,
        "seed": 3,
        "output_format": "png",
    },
    "black-forest-labs/FLUX.2-pro": {
        "width": 1024,
        "height": 768,
        "seed": 3,
        "output_format": "png",
        "prompt_upsampling": False,
    },
    "somebody/model-of-their-own": {
        "steps": 20,
        "guidance_scale": 4.0,
        "width": 1024,
        "height": 768,
        "seed": 3,
        "negative_prompt": "a blue square",
    },
}


@pytest.mark.parametrize("model", BODIES)
def test_what_is_sent_is_what_the_model_takes(fake: Told, model: str) -> None:
    params = GenerationParams(
        model=model,
        prompt="a red circle",
        negative_prompt="a blue square",
        seed=3,
        num_inference_steps=20,
        guidance_scale=4.0,
        width=1024,
        height=768,
    )
    assert isinstance(list(backend_of(fake).trace(params))[-1], Finished)
    shared = {"model": model, "prompt": "a red circle", "n": 1, "response_format": "base64"}
    assert fake.creations[0].json() == shared | BODIES[model]


@pytest.mark.parametrize("entry", list_models("together"), ids=lambda entry: entry.id)
def test_the_first_values_of_every_listed_model_are_taken(entry: Any) -> None:
    backend = open_backend("together", key=KEY)
    params = GenerationParams(model=entry.id, prompt="a", width=1024, height=1024)
    params = params.replace(
        num_inference_steps=entry.steps or params.num_inference_steps,
        guidance_scale=entry.guidance or params.guidance_scale,
    )
    assert backend.resolve(params).width == 1024


def test_what_is_no_model_is_said_at_its_field() -> None:
    with pytest.raises(InvalidParams, match="give owner/name") as error:
        open_backend("together", key=KEY).resolve(GenerationParams(model="a model", prompt="a"))
    assert error.value.field == "model"


def test_what_together_tells_of_its_request_is_kept(fake: Told) -> None:
    hosted = events_of(fake)[-1].provenance["hosted"]
    assert hosted["request_id"] == "img-1"
    assert hosted["told"] == {"model": fake.model, "timings": {"inference": 0.8}}
    assert hosted["seed"] is None, "Together AI does not say which seed it used"


def test_a_picture_by_its_address_is_fetched_without_the_key(fake: Told) -> None:
    fake.told = {"id": "img-2", "data": [{"url": f"{fake.url}/files/1.png", "seed": 9}]}
    last = events_of(fake)[-1]
    assert isinstance(last, Finished), last
    assert last.provenance["hosted"]["seed"] == 9
    assert KEY not in repr([seen for seen in fake.seen if seen.path.startswith("/files/")])


WRONG: list[tuple[Any, str]] = [
    ([], "provider_error"),
    ({"data": None}, "provider_error"),
    ({"data": [None]}, "provider_error"),
    ({"data": {"b64_json": "aaaa"}}, "provider_error"),
    ({"data": [{}]}, "provider_error"),
    ({"data": [{"b64_json": 5, "url": ["https://a.example"]}]}, "provider_error"),
    ({"data": [{"url": "file:///etc/passwd"}]}, "provider_error"),
    ({"data": [{"b64_json": "%%% none %%%"}]}, "bad_download"),
    ({"data": [{"b64_json": base64.b64encode(png()).decode()[:-5]}]}, "bad_download"),
    (Reply(b"<html>a gateway's page</html>", kind="text/html"), "provider_error"),
]


@pytest.mark.parametrize(("told", "code"), WRONG, ids=range(len(WRONG)))
def test_an_answer_of_wrong_types_is_an_error_of_its_own(fake: Told, told: Any, code: str) -> None:
    fake.told = told
    last = events_of(fake)[-1]
    assert isinstance(last, Failed)
    assert last.code == code, last
    assert len(fake.creations) == 1, "it may have been paid for"


def test_values_of_wrong_types_beside_the_picture_are_left_out(fake: Told) -> None:
    picture = base64.b64encode(png()).decode()
    data = {"b64_json": picture, "seed": True, "timings": {"inference": [1], "x" * 99: "y" * 999}}
    fake.told = {"id": ["img"], "model": {"deep": {"er": 1}}, "data": [data]}
    hosted = events_of(fake)[-1].provenance["hosted"]
    assert hosted["request_id"] == ""
    assert hosted["seed"] is None
    assert hosted["told"] == {"timings": {"x" * 60: "y" * 200}}


REFUSALS = [
    (403, {"message": "Not enabled.", "code": "third_party_data_sharing_blocked"}, "capability", "Privacy"),
    (403, {"message": "This model is not available for tier Free."}, "payment_required", "settings/billing"),
    (400, {"message": "Unable to access non-serverless model x."}, "unknown_model", "choose another"),
    (400, {"message": "steps must be at most 50"}, "capability", "at most 50"),
    (422, {"message": "NSFW content in the prompt"}, "content_refused", "NSFW"),
]


@pytest.mark.parametrize(("status", "error", "code", "words"), REFUSALS)
def test_a_refusal_is_told_by_what_it_says(
    fake: Told, status: int, error: Any, code: str, words: str
) -> None:
    fake.told = Reply({"error": error}, status)
    last = events_of(fake)[-1]
    assert isinstance(last, Failed)
    assert last.code == code, last
    assert words in last.message


def test_a_limit_without_retry_after_is_waited_for_as_its_own_header_says(fake: Told) -> None:
    fake.told = Reply({"error": {"message": "slower"}}, 429, {"x-ratelimit-reset": "1"})
    patient = replace(QUICK, attempts=2, asked=2.0)
    events = list(backend_of(fake, patient).trace(asked(fake)))
    assert [one.seconds for one in events if isinstance(one, Waiting)] == [1.0]
    assert events[-1].code == "rate_limited"
    assert len(fake.creations) == 2
