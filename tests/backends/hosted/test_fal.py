"""What fal is sent for each model, and how its answers are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from diffatlas.backends import open_backend
from diffatlas.backends.hosted import adapter_of
from diffatlas.backends.hosted.http import Patience
from diffatlas.errors import CapabilityError, InvalidParams, KeyRefused, PaymentRequired
from diffatlas.events import Event, Failed, Finished, Started, Waiting
from diffatlas.params import GenerationParams
from diffatlas.registry import hosted_model, list_models
from tests.backends.hosted.fakes.fal import FakeFal

QUICK = Patience(
    answer=0.5, image=8.0, attempts=3, first=0.02, most=0.05, asked=0.5, look=0.01, look_most=0.05
)
SIZE = {"width": 1024, "height": 1024}
COMMON = {"prompt": "a red circle", "seed": 7, "image_size": SIZE}
#: Model -> what is sent for its first values, besides what is sent for every model.
SENT: dict[str, dict[str, Any]] = {
    "fal-ai/flux/schnell": {"output_format": "png", "acceleration": "none", "num_inference_steps": 4},
    "fal-ai/flux/dev": {
        "output_format": "png",
        "acceleration": "none",
        "num_inference_steps": 28,
        "guidance_scale": 3.5,
    },
    "fal-ai/flux-pro/v1.1": {"output_format": "png"},
    "fal-ai/flux-2": {
        "output_format": "png",
        "acceleration": "none",
        "num_inference_steps": 28,
        "guidance_scale": 2.5,
    },
    "fal-ai/flux-2/klein/4b/base": {
        "output_format": "png",
        "acceleration": "none",
        "negative_prompt": "blue",
        "num_inference_steps": 28,
        "guidance_scale": 5.0,
    },
    "fal-ai/stable-diffusion-v35-large": {
        "output_format": "png",
        "negative_prompt": "blue",
        "num_inference_steps": 28,
        "guidance_scale": 3.5,
    },
    "fal-ai/stable-diffusion-v35-medium": {
        "output_format": "png",
        "auto_fix": False,
        "negative_prompt": "blue",
        "num_inference_steps": 40,
        "guidance_scale": 4.5,
    },
    "fal-ai/qwen-image": {
        "output_format": "png",
        "acceleration": "none",
        "negative_prompt": "blue",
        "num_inference_steps": 30,
        "guidance_scale": 2.5,
    },
    "fal-ai/fast-sdxl": {
        "format": "png",
        "negative_prompt": "blue",
        "num_inference_steps": 25,
        "guidance_scale": 7.5,
    },
}


@pytest.fixture
def fake() -> Iterator[FakeFal]:
    with FakeFal() as served:
        yield served  # type: ignore[misc]


def asked(model: str = FakeFal.model, **changes: Any) -> GenerationParams:
    entry = hosted_model(model, "fal")
    params = GenerationParams(
        model=model,
        prompt="a red circle",
        seed=7,
        num_inference_steps=entry.steps or 30,
        guidance_scale=entry.guidance or 1.0,
    )
    return params.replace(**changes)


def events_of(fake: FakeFal, model: str = FakeFal.model, **changes: Any) -> list[Event]:
    backend = open_backend("fal", key=fake.key, url=fake.url, patience=QUICK)
    return list(backend.trace(asked(model, **changes)))


def hosted_of(events: list[Event]) -> dict[str, Any]:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1].provenance["hosted"]


def test_the_table_below_has_every_listed_model() -> None:
    assert list(SENT) == [one.id for one in list_models("fal")]


@pytest.mark.parametrize("model", SENT)
def test_each_model_is_sent_what_it_takes_at_its_own_address(fake: FakeFal, model: str) -> None:
    hosted = hosted_of(events_of(fake, model, negative_prompt="blue"))
    assert hosted["sent"] == fake.creations[0].json() == COMMON | SENT[model]
    assert fake.creations[0].path == f"/{model}"
    owner_and_name = "/".join(model.split("/")[:2])
    looks = [one.path for one in fake.seen if "/requests/" in one.path]
    assert looks, "the request is looked up"
    assert all(path.startswith(f"/{owner_and_name}/requests/019fd000-1") for path in looks)


def test_a_workflow_is_looked_up_under_its_owner_and_name() -> None:
    from diffatlas.backends.hosted.base import Job
    from diffatlas.backends.hosted.fal import _path

    job = Job("a/b", "waiting")
    assert _path(hosted_model("workflows/me/mine/v2", "fal"), job) == "/workflows/me/mine/requests/a%2Fb"


@pytest.mark.parametrize("model", ["flux", "a/../b", "https://elsewhere.example/a/b", "a//b", "a/b?c=d"])
def test_what_is_no_name_of_a_model_is_told_at_its_field(model: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        adapter_of("fal").arguments(hosted_model(model, "fal"), asked())
    assert refused.value.field == "model"


@pytest.mark.parametrize(
    ("model", "changes", "field"),
    [
        ("fal-ai/flux/dev", {"guidance_scale": 0.5}, "guidance_scale"),
        ("fal-ai/flux/schnell", {"num_inference_steps": 28}, "num_inference_steps"),
        ("fal-ai/flux-2", {"width": 256, "height": 1024}, "width"),
    ],
)
def test_what_a_model_cannot_do_is_a_finding(
    fake: FakeFal, model: str, changes: dict[str, Any], field: str
) -> None:
    last = events_of(fake, model, **changes)[-1]
    assert isinstance(last, Failed)
    assert (last.code, last.field) == (CapabilityError.code, field)
    assert not fake.seen, "nothing is asked"


def test_the_place_in_the_queue_is_told(fake: FakeFal) -> None:
    fake.before = 3
    words = [one.message for one in events_of(fake) if isinstance(one, Waiting)]
    assert words[0] == "fal: in the queue, 3 before it."
    assert "fal: in the queue, 1 before it." in words
    assert "fal: in the queue, the next one." in words


def test_the_seed_the_timings_and_the_flags_are_kept(fake: FakeFal) -> None:
    fake.result = {"seed": 11}
    hosted = hosted_of(events_of(fake))
    assert hosted["request_id"] == "019fd000-1"
    assert hosted["seed"] == 11
    assert hosted["told"] == {
        "metrics": {"inference_time": 1.25},
        "timings": {"inference": 1.2},
        "has_nsfw_concepts": [False],
    }


def test_no_other_model_may_stand_in(fake: FakeFal) -> None:
    events_of(fake)
    assert fake.creations[0].headers["x-app-fal-disable-fallback"] == "true"


def test_the_second_domain_of_fal_is_no_host_of_its() -> None:
    provider = adapter_of("fal").provider
    assert not any("falrun" in host for host in (provider.url, *provider.hosts))


def test_addresses_in_an_answer_are_not_used(fake: FakeFal) -> None:
    # Those of the fake lead to another domain, where a request would fail.
    assert isinstance(events_of(fake)[-1], Finished)


def test_a_flagged_image_is_a_refusal_of_its_content(fake: FakeFal) -> None:
    fake.result = {"has_nsfw_concepts": [True]}
    last = events_of(fake)[-1]
    assert isinstance(last, Failed)
    assert (last.code, last.field) == ("content_refused", "prompt")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ({"images": []}, "provider_error"),
        ({"images": None}, "provider_error"),
        ({"images": "https://elsewhere.example/a.png"}, "provider_error"),
        ({"images": [7]}, "provider_error"),
        ({"images": [{"url": ["a"]}]}, "provider_error"),
        ({"images": [{"url": "file:///etc/passwd"}]}, "provider_error"),
        ({"images": [{"url": "http://127.0.0.1:1/a.png"}]}, "bad_download"),
    ],
)
def test_a_result_of_wrong_types_is_told_and_not_followed(
    fake: FakeFal, result: dict[str, Any], code: str
) -> None:
    fake.result = result
    last = events_of(fake)[-1]
    assert isinstance(last, Failed), last
    assert last.code == code, last


def test_a_value_of_a_wrong_type_is_left_out(fake: FakeFal) -> None:
    fake.result = {"seed": "seven", "timings": [{"a": {}}], "has_nsfw_concepts": "no"}
    fake.status = {"metrics": {"inference_time": {"a": 1}, "other": True}, "queue_position": "first"}
    hosted = hosted_of(events_of(fake))
    assert hosted["seed"] is None
    assert hosted["told"] == {"metrics": {"other": True}, "has_nsfw_concepts": "no"}


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ({"status": "FAILED", "error": "It broke."}, "provider_error"),
        ({"status": ["COMPLETED"]}, "provider_error"),
        ({"status": "COMPLETED", "error": "too long", "error_type": "request_timeout"}, "timeout"),
        ({"status": "COMPLETED", "error": "gone", "error_type": "runner_disconnected"}, "provider_down"),
    ],
)
def test_a_request_that_ended_badly_has_a_typed_error(
    fake: FakeFal, status: dict[str, Any], code: str
) -> None:
    fake.before, fake.status = 0, status
    events = events_of(fake)
    last = events[-1]
    assert isinstance(last, Failed), last
    assert last.code == code, last
    if isinstance(status.get("error"), str):
        assert status["error"] in last.message, "fal's own words are kept"
    assert any(isinstance(one, Started) for one in events)


@pytest.mark.parametrize("said", ["User is locked. Reason: Exhausted balance. Top up your balance.", "x"])
def test_a_locked_account_is_told_from_a_key_without_rights(fake: FakeFal, said: str) -> None:
    fake.refusal = lambda status: {"detail": said}  # type: ignore[method-assign]
    fake.fail("403")
    last = events_of(fake)[-1]
    assert isinstance(last, Failed)
    assert last.code == (PaymentRequired.code if "balance" in said else KeyRefused.code)
    assert ("fal.ai/dashboard/billing" in last.message) == ("balance" in said)


@pytest.mark.parametrize(
    ("detail", "code"),
    [
        ([{"msg": "It is not allowed.", "type": "content_policy_violation"}], "content_refused"),
        ({"error": "content_policy_violation", "message": "A likeness."}, "content_refused"),
        ("The prompt was flagged.", "content_refused"),
        ([{"msg": "safety_tolerance should be at most 6", "type": "less_than_equal"}], "capability"),
        ([["no"], 7, {"type": ["a"]}], "capability"),
    ],
)
def test_a_refused_prompt_is_told_from_a_wrong_input_by_its_kind(
    fake: FakeFal, detail: Any, code: str
) -> None:
    fake.refusal = lambda status: {"detail": detail}  # type: ignore[method-assign]
    fake.fail("422")
    last = events_of(fake)[-1]
    assert isinstance(last, Failed)
    assert last.code == code, last


def test_a_request_whose_answer_was_lost_is_found_in_the_list(fake: FakeFal) -> None:
    fake.fail("drop", times=1)
    assert hosted_of(events_of(fake))["request_id"] == "019fd000-1"
    listed = next(one for one in fake.seen if one.path.startswith("/v1/models/requests/by-endpoint?"))
    assert "endpoint_id=fal-ai%2Fstable-diffusion-v35-large" in listed.path
    assert len(fake.creations) == 1


def test_one_of_two_equal_requests_is_not_guessed(fake: FakeFal) -> None:
    assert isinstance(events_of(fake)[-1], Finished)
    fake.fail("drop", times=1)
    last = events_of(fake)[-1]
    assert isinstance(last, Failed)
    assert "paid" in last.message


def test_a_stop_cancels_the_request(fake: FakeFal) -> None:
    from threading import Event as Flag

    fake.fail("stays in the queue")
    stop = Flag()
    backend = open_backend("fal", key=fake.key, url=fake.url, patience=QUICK)
    for event in backend.trace(asked(), stop=stop):
        if isinstance(event, Started):
            stop.set()
    assert isinstance(event, Finished)
    assert event.status == "stopped"
    assert fake.requests["019fd000-1"]["cancelled"], "it is asked for by PUT"
