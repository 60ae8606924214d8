"""What is sent to Hugging Face's router, beside what huggingface_hub itself sends, and how answers are read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from diffatlas.backends import open_backend
from diffatlas.backends.hosted import adapter_of
from diffatlas.errors import InvalidParams, KeyRefused, NetworkError
from diffatlas.events import Failed, Finished, Waiting
from diffatlas.params import GenerationParams
from diffatlas.registry import list_models
from tests.backends.hosted.fakes.huggingface import ROUTES, FakeHuggingFace
from tests.backends.hosted.fakes.server import KEY, Reply, Seen
from tests.backends.hosted.test_every_case import QUICK, backend_of

MODEL = "somebody/model"


class Told(FakeHuggingFace):
    """Answers the request for an image with what it is told to, as often as it is told to."""

    told: Any = None

    def reply(self, seen: Seen) -> Reply | None:
        if self.creates(seen) and self.told is not None:
            reply = self.told if isinstance(self.told, Reply) else Reply(self.told)
            if self.failing("once"):
                self.told = None
            return reply
        return super().reply(seen)


@pytest.fixture
def fake() -> Iterator[Told]:
    with Told() as served:
        yield served


def asked(provider: str = "fal-ai", model: str = MODEL) -> GenerationParams:
    return GenerationParams(
        model=f"{model}:{provider}" if provider else model,
        prompt="a red circle",
        negative_prompt="a blue square",
        seed=3,
        num_inference_steps=20,
        guidance_scale=4.0,
        width=640,
        height=512,
    )


def last_of(fake: FakeHuggingFace, params: GenerationParams) -> Any:
    return list(backend_of(fake).trace(params))[-1]


def told_of(fake: FakeHuggingFace, params: GenerationParams) -> dict[str, Any]:
    last = last_of(fake, params)
    assert isinstance(last, Finished), last
    return last.provenance["hosted"]


@contextlib.contextmanager
def huggingface_hub_at(url: str) -> Iterator[None]:
    """Let huggingface_hub take the loopback for its Hub and its router."""
    from huggingface_hub import constants
    from huggingface_hub.inference import _providers as providers
    from huggingface_hub.inference._providers import _common, hf_inference

    cached = (_common._fetch_inference_provider_mapping, hf_inference._check_supported_task)
    for each in cached:
        each.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "ENDPOINT", url)
        patch.setattr(constants, "INFERENCE_PROXY_TEMPLATE", url + "/{provider}")
        task = providers.PROVIDERS["hf-inference"]["text-to-image"]
        patch.setattr(task, "base_url", f"{url}/hf-inference")
        yield
    for each in cached:
        each.cache_clear()


@pytest.mark.parametrize("provider", [*ROUTES, "auto"])
def test_what_is_sent_is_what_huggingface_hub_sends(fake: Told, provider: str) -> None:
    from huggingface_hub import InferenceClient

    params = asked(provider)
    # It looks for the results of some providers elsewhere than at the router, which is not what is compared.
    with huggingface_hub_at(fake.url), contextlib.suppress(Exception):
        InferenceClient(provider=provider, api_key=fake.key).text_to_image(
            params.prompt,
            model=MODEL,
            negative_prompt=params.negative_prompt,
            seed=params.seed,
            num_inference_steps=params.num_inference_steps,
            guidance_scale=params.guidance_scale,
            width=params.width,
            height=params.height,
        )
    assert isinstance(last_of(fake, params), Finished)
    theirs, ours = fake.creations
    assert (ours.path, ours.json()) == (theirs.path, theirs.json())
    for name in ("authorization", "accept", "content-type", "prefer", "accept-language", "x-source-channel"):
        assert ours.headers.get(name) == theirs.headers.get(name), name


#: Provider -> what of its answer is kept: the id of the request, the seed, and what is told besides the request.
KEPT: dict[str, tuple[str, int | None, dict[str, Any]]] = {
    "fal-ai": ("fal-1", 3, {"timings": {"inference": 0.7}, "has_nsfw_concepts": [False]}),
    "hf-inference": ("hf-1", None, {"x-compute-time": "1.5"}),
    "together": ("img-1", None, {}),
    "nscale": ("img-1", None, {"left_out": ["num_inference_steps"]}),
    "replicate": ("p1", None, {"metrics": {"predict_time": 1.2}}),
    "wavespeed": ("w1", None, {"result": "/wavespeed/api/v3/predictions/w1/result"}),
    "zai-org": ("z1", None, {"result": "/zai-org/api/paas/v4/async-result/z1"}),
}


@pytest.mark.parametrize("provider", KEPT)
def test_the_answer_of_every_provider_is_read(fake: Told, provider: str) -> None:
    hosted = told_of(fake, asked(provider))
    request_id, seed, told = KEPT[provider]
    sent = {"provider": provider, "model": ROUTES[provider], "body": fake.creations[0].json()}
    assert hosted["told"] == sent | told
    assert (hosted["request_id"], hosted["seed"]) == (request_id, seed)
    assert hosted["image"]["kind"] == "png"
    assert all(KEY not in repr(seen) for seen in fake.seen if seen.path.startswith("/files/"))


def test_without_a_provider_the_first_of_the_hubs_is_asked_and_the_hub_once(fake: Told) -> None:
    backend = backend_of(fake)
    for _ in range(2):
        last = list(backend.trace(asked("")))[-1]
    assert last.provenance["hosted"]["told"]["provider"] == "fal-ai"
    assert [seen.path.partition("?")[0] for seen in fake.seen if "/api/" in seen.path] == [
        f"/api/models/{MODEL}"
    ]
    assert len(fake.creations) == 2


@pytest.mark.parametrize("entry", list_models("huggingface"), ids=lambda entry: entry.id)
def test_the_first_values_of_every_listed_model_are_taken(fake: Told, entry: Any) -> None:
    params = GenerationParams(
        model=entry.id,
        prompt="a",
        width=1024,
        height=1024,
        num_inference_steps=entry.steps,
        guidance_scale=entry.guidance or 5.0,
    )
    told = told_of(fake, params)["told"]
    assert "left_out" not in told, "what the list says that a model takes is sent to it"


MAPPINGS: list[Any] = [
    None,
    5,
    [5],
    ["fal-ai"],
    {"fal-ai": 5},
    {"fal-ai": {"providerId": 5, "task": "text-to-image"}},
    {"fal-ai": {"providerId": "../../../replicate/v1/files", "task": "text-to-image"}},
    {"fal-ai": {"providerId": "https://elsewhere.example/x", "task": "text-to-image"}},
    {"fal-ai": {"providerId": "@elsewhere.example/x", "task": "text-to-image"}},
    {"fal-ai": {"providerId": "fal-ai/wan", "task": "text-to-video"}},
    {"nobody": {"providerId": "x/y", "task": "text-to-image"}},
    {"fal-ai": {"providerId": "fal-ai/lora", "task": "text-to-image", "adapterWeightsPath": "../x"}},
    [{"provider": ["fal-ai"], "providerId": "x/y", "task": "text-to-image"}],
]


@pytest.mark.parametrize("mapping", MAPPINGS, ids=range(len(MAPPINGS)))
def test_a_route_that_is_none_is_not_taken(fake: Told, mapping: Any) -> None:
    fake.mapping = mapping
    last = last_of(fake, asked(""))
    assert isinstance(last, Failed)
    assert last.code == "unknown_model", last
    assert not fake.creations


@pytest.mark.parametrize("provider", ["fal-ai", "replicate"])
def test_a_lora_of_the_hub_is_sent_as_huggingface_hub_sends_it(fake: Told, provider: str) -> None:
    from huggingface_hub import InferenceClient

    fake.mapping[provider] |= {"providerId": "fal-ai/lora", "adapterWeightsPath": "a style.safetensors"}
    with huggingface_hub_at(fake.url):
        InferenceClient(provider=provider, api_key=fake.key).text_to_image("a red circle", model=MODEL)
    told_of(fake, asked(provider))
    theirs, ours = (seen.json().get("input", seen.json()) for seen in fake.creations)
    for name in ("loras", "model_name", "lora_weights"):
        assert ours.get(name) == theirs.get(name), name


def test_a_provider_that_does_not_run_a_model_is_told_with_those_that_do(fake: Told) -> None:
    fake.mapping = {name: fake.mapping[name] for name in ("together", "nscale")}
    last = last_of(fake, asked("fal-ai"))
    assert last.code == "unknown_model"
    assert "together, nscale" in last.message


WRONG: list[tuple[Any, str]] = [
    ([], "provider_error"),
    ({}, "provider_error"),
    ({"images": None}, "provider_error"),
    ({"images": [None, 5, {"url": 5}]}, "provider_error"),
    ({"images": [{"url": "file:///etc/passwd"}]}, "provider_error"),
    ({"images": [{"url": "data:image/png;base64,%%%"}]}, "bad_download"),
    ({"error": "The model is not well."}, "provider_error"),
    ({"status": "failed", "error": "Out of memory."}, "provider_error"),
    ({"status": "failed", "error": "NSFW content detected."}, "content_refused"),
    (Reply(b"<html>a gateway's page</html>", kind="text/html"), "bad_download"),
    (Reply(b""), "bad_download"),
]


@pytest.mark.parametrize("provider", ["fal-ai", "wavespeed", "zai-org"])
@pytest.mark.parametrize(("told", "code"), WRONG, ids=range(len(WRONG)))
def test_an_answer_of_wrong_types_is_an_error_of_its_own(
    fake: Told, provider: str, told: Any, code: str
) -> None:
    fake.told = told
    last = last_of(fake, asked(provider))
    assert isinstance(last, Failed)
    assert last.code in (code, "provider_error"), last
    assert provider != "fal-ai" or last.code == code, last
    assert len(fake.creations) == 1, "it may have been paid for"


def test_an_image_that_is_withheld_is_told_as_such(fake: Told) -> None:
    fake.fault = "withheld"
    last = last_of(fake, asked())
    assert last.code == "content_refused"
    assert "paid" in last.message


def test_an_image_that_replicate_has_not_made_in_time_may_be_paid_for(fake: Told) -> None:
    fake.fail("not in time")
    last = last_of(fake, asked("replicate"))
    assert last.code == "timeout"
    assert "paid" in last.message
    assert len(fake.creations) == 1


def test_a_model_that_is_being_loaded_is_waited_for(fake: Told) -> None:
    fake.told = Reply({"error": f"Model {MODEL} is currently loading", "estimated_time": 1.0}, 503)
    fake.fail("once", times=1)
    events = list(backend_of(fake, replace(QUICK, asked=2.0)).trace(asked()))
    assert isinstance(events[-1], Finished), events[-1]
    assert [one.seconds for one in events if isinstance(one, Waiting) and one.seconds] == [1.0]
    assert len(fake.creations) == 2


def test_a_key_of_another_provider_is_refused_before_it_is_sent(fake: Told) -> None:
    with pytest.raises(KeyRefused, match="that provider's own backend") as error:
        open_backend("huggingface", key="sk-of-another-one", url=fake.url)
    assert "sk-of-another-one" not in str(error.value)
    assert not fake.seen


def test_offline_nothing_is_asked_and_a_sentence_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    backend = open_backend("huggingface", key=f"hf_{KEY}")
    last = list(backend.trace(asked()))[-1]
    assert last.code == "network"
    assert "HF_HUB_OFFLINE" in last.message
    with pytest.raises(NetworkError, match="HF_HUB_OFFLINE"):
        backend.check_key()


def test_the_key_goes_to_the_router_and_the_hub_that_the_environment_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    assert adapter_of("huggingface").provider.hosts == ("huggingface.co",)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
    assert adapter_of("huggingface").provider.hosts == ("hub.example",)


@pytest.mark.parametrize("model", ["a model", "owner/../name", "owner/name:nobody", "name", "a/b/c"])
def test_what_is_no_model_is_said_at_its_field(model: str) -> None:
    backend = open_backend("huggingface", key=f"hf_{KEY}")
    with pytest.raises(InvalidParams) as error:
        backend.resolve(GenerationParams(model=model, prompt="a"))
    assert error.value.field == "model"
