"""What Stability AI is sent for each model, and how its answers are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from diffatlas.backends import open_backend
from diffatlas.backends.hosted import adapter_of
from diffatlas.backends.hosted.http import Patience
from diffatlas.errors import CapabilityError, InvalidParams
from diffatlas.events import Event, Failed, Finished
from diffatlas.params import GenerationParams
from diffatlas.registry import hosted_model, list_models
from tests.backends.hosted.fakes.stability import FakeStability, fields

QUICK = Patience(answer=0.5, image=8.0, attempts=2, first=0.02, most=0.05, asked=0.5)
COMMON = {"prompt": "a red circle", "seed": "7", "aspect_ratio": "1:1", "output_format": "png"}
NEGATIVE = {"negative_prompt": "blue"}
#: Model -> where it is asked for, and what is sent for its first values, besides what is sent for every model.
SENT: dict[str, tuple[str, dict[str, str]]] = {
    "sd3.5-large": ("sd3", {"model": "sd3.5-large", "cfg_scale": "4.0", **NEGATIVE}),
    "sd3.5-medium": ("sd3", {"model": "sd3.5-medium", "cfg_scale": "4.0", **NEGATIVE}),
    "sd3.5-large-turbo": ("sd3", {"model": "sd3.5-large-turbo", "cfg_scale": "1.0"}),
    "sd3.5-flash": ("sd3", {"model": "sd3.5-flash", "cfg_scale": "1.0"}),
    "core": ("core", NEGATIVE),
    "ultra": ("ultra", NEGATIVE),
}


@pytest.fixture
def fake() -> Iterator[FakeStability]:
    with FakeStability() as served:
        yield served  # type: ignore[misc]


def asked(model: str = FakeStability.model, **changes: Any) -> GenerationParams:
    entry = hosted_model(model, "stability")
    params = GenerationParams(
        model=model, prompt="a red circle", seed=7, guidance_scale=entry.guidance or 5.0
    )
    return params.replace(**changes)


def events_of(fake: FakeStability, model: str = FakeStability.model, **changes: Any) -> list[Event]:
    backend = open_backend("stability", key=fake.key, url=fake.url, patience=QUICK)
    return list(backend.trace(asked(model, **changes)))


def hosted_of(events: list[Event]) -> dict[str, Any]:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1].provenance["hosted"]


def test_the_table_above_has_every_listed_model() -> None:
    assert list(SENT) == [one.id for one in list_models("stability")]


@pytest.mark.parametrize("model", SENT)
def test_each_model_is_sent_the_form_that_it_takes(fake: FakeStability, model: str) -> None:
    hosted = hosted_of(events_of(fake, model, negative_prompt="blue"))
    place, fields_of_it = SENT[model]
    seen = fake.creations[0]
    assert seen.path == f"/v2beta/stable-image/generate/{place}"
    assert seen.headers["accept"] == "image/*"
    assert fields(seen) == COMMON | fields_of_it
    assert hosted["sent"]["seed"] == 7


@pytest.mark.parametrize(
    ("width", "height", "shape"), [(1024, 768, "5:4"), (768, 1024, "4:5"), (1344, 768, "16:9")]
)
def test_sides_become_one_of_its_own_shapes_and_this_is_said(
    fake: FakeStability, width: int, height: int, shape: str
) -> None:
    backend = open_backend("stability", key=fake.key, url=fake.url, patience=QUICK)
    params = asked(width=width, height=height)
    assert f"{shape}, the shape nearest to" in backend.ignored(params)["size"]
    assert isinstance(list(backend.trace(params))[-1], Finished)
    assert fields(fake.creations[0])["aspect_ratio"] == shape


@pytest.mark.parametrize("seed", [0, 2**32 - 1, 2**40])
def test_a_seed_that_would_be_none_is_a_finding(fake: FakeStability, seed: int) -> None:
    last = events_of(fake, seed=seed)[-1]
    assert isinstance(last, Failed)
    assert (last.code, last.field) == (CapabilityError.code, "seed")
    assert ("another image each time" in last.message) == (seed == 0)
    assert not fake.seen, "nothing is asked"


@pytest.mark.parametrize("seed", [1, 2**32 - 2])
def test_the_first_and_the_last_seed_are_sent(fake: FakeStability, seed: int) -> None:
    assert hosted_of(events_of(fake, seed=seed))["seed"] == seed


@pytest.mark.parametrize("guidance", [0.5, 18.0])
def test_guidance_out_of_its_range_is_a_finding(fake: FakeStability, guidance: float) -> None:
    last = events_of(fake, guidance_scale=guidance)[-1]
    assert isinstance(last, Failed)
    assert (last.code, last.field) == (CapabilityError.code, "guidance_scale")


@pytest.mark.parametrize("model", ["core", "ultra"])
def test_guidance_that_is_not_heeded_is_said(fake: FakeStability, model: str) -> None:
    backend = open_backend("stability", key=fake.key, url=fake.url)
    assert {"guidance_scale", "num_inference_steps"} <= set(backend.ignored(asked(model)))


@pytest.mark.parametrize("model", ["stable-diffusion-xl-1024-v1-0", "../v1/user", "sd3/../core", ""])
def test_what_is_no_name_of_a_model_is_told_at_its_field(model: str) -> None:
    with pytest.raises(InvalidParams) as refused:
        adapter_of("stability").arguments(hosted_model(model, "stability"), asked())
    assert refused.value.field == "model"


def test_the_request_and_the_end_are_kept(fake: FakeStability) -> None:
    fake.headers = {"seed": "12"}
    hosted = hosted_of(events_of(fake))
    assert (hosted["request_id"], hosted["seed"], hosted["told"]) == ("r-1", 12, {"finish_reason": "SUCCESS"})


@pytest.mark.parametrize("seed", ["seven", "-1", "", "1" * 40, "7.5", "٧"])
def test_a_seed_that_is_no_number_is_left_out(fake: FakeStability, seed: str) -> None:
    fake.headers = {"seed": seed.encode().decode("latin-1")}
    assert hosted_of(events_of(fake))["seed"] is None


def test_a_filtered_image_is_a_refusal_of_its_content(fake: FakeStability) -> None:
    fake.headers = {"finish-reason": "CONTENT_FILTERED"}
    last = events_of(fake)[-1]
    assert isinstance(last, Failed)
    assert (last.code, last.field) == ("content_refused", "prompt")


def test_an_answer_that_is_no_image_may_have_been_paid_all_the_same(fake: FakeStability) -> None:
    fake.kind = "application/json"
    last = events_of(fake)[-1]
    assert isinstance(last, Failed)
    assert "no image" in last.message
    assert "paid" in last.message
    assert len(fake.creations) == 1
