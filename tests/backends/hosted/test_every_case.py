"""Every provider through every way in which its service can answer or fail, over real HTTP on loopback."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from diffatlas.backends import open_backend
from diffatlas.backends.hosted.http import Patience
from diffatlas.errors import KeyRefused
from diffatlas.events import Event, Failed, Finished, Image, Started, Waiting
from diffatlas.params import GenerationParams
from diffatlas.registry import HOSTED, hosted_model
from diffatlas.run import collect
from tests.apart import run_apart
from tests.backends.hosted.fakes.every import EVERY
from tests.backends.hosted.fakes.server import KEY, FakeProvider, png

#: Quick, so that giving up takes no seconds.
QUICK = Patience(
    answer=0.5, image=8.0, attempts=3, first=0.02, most=0.05, asked=0.5, look=0.02, look_most=0.1
)
CODES = {
    "401": "auth",
    "402": "payment_required",
    "403": "auth",
    "422": "capability",
    "429": "rate_limited",
    "429 wait": "rate_limited",
    "500": "provider_down",
    "503 wait": "provider_down",
    "hang": "timeout",
    "redirect": "provider_error",
    "refused content": "content_refused",
    "truncated picture": "bad_download",
    "no picture": "bad_download",
    "dropped picture": "network",
    "picture at a private address": "bad_download",
}


@pytest.fixture(params=EVERY, ids=lambda one: one.name)
def fake(request: Any) -> Iterator[FakeProvider]:
    with request.param() as served:
        yield served


def asked(fake: FakeProvider, seed: int = 7, **changes: Any) -> GenerationParams:
    entry = hosted_model(fake.model, fake.name)
    params = GenerationParams(
        model=entry.id,
        prompt="a red circle",
        seed=seed,
        num_inference_steps=entry.steps or 30,
        guidance_scale=entry.guidance or 1.0,
    )
    return params.replace(**changes)


def backend_of(fake: FakeProvider, patience: Patience = QUICK, key: str = "") -> Any:
    return open_backend(fake.name, key=key or fake.key, url=fake.url, patience=patience)


def events_of(fake: FakeProvider, **changes: Any) -> list[Event]:
    return list(backend_of(fake).trace(asked(fake, **changes)))


def test_every_provider_has_a_fake() -> None:
    assert tuple(one.name for one in EVERY) == HOSTED


def test_an_image_arrives(fake: FakeProvider) -> None:
    events = events_of(fake)
    assert [type(one) for one in events if not isinstance(one, Waiting)] == [Started, Image, Finished], events
    run = collect(events)
    assert run.status == "complete"
    assert run.steps == ()
    assert run.initial_latents is None
    assert np.array_equal(run.images[0], np.asarray(Pillow.open(io.BytesIO(png(7)))))
    hosted = run.provenance["hosted"]
    assert run.provenance["backend"] == fake.name
    assert hosted["image"]["kind"] == "png"
    assert fake.made == 1
    assert KEY not in repr(events)


def test_the_key_goes_to_the_provider_and_not_to_its_files(fake: FakeProvider) -> None:
    events_of(fake)
    assert all(KEY in one.headers.get("authorization", "") for one in fake.creations)
    for one in fake.seen:
        if one.path.startswith("/files/"):
            assert KEY not in repr(one)


@pytest.mark.parametrize("fault", CODES)
def test_a_fault_ends_with_its_own_error(fake: FakeProvider, fault: str) -> None:
    if fake.inline and "picture" in fault and fault not in ("truncated picture", "no picture"):
        return  # nothing is fetched
    fake.fail(fault)
    events = events_of(fake)
    last = events[-1]
    assert isinstance(last, Failed), last
    assert last.code == {**CODES, **fake.codes}[fault], last
    assert last.message.endswith((".", "…", "]")) or "says:" in last.message
    assert KEY not in repr(events)
    assert "Traceback" not in last.message
    if fault in ("401", "402", "422"):
        assert f"for {fault}" in last.message, "the provider's own words are kept"
    began = any(isinstance(one, Started) for one in events)
    assert began == (fake.made > 0) or fake.inline
    assert fake.made <= 1


@pytest.mark.parametrize("fault", ["429", "429 wait", "503 wait"])
def test_a_refusal_that_passes_is_waited_for(fake: FakeProvider, fault: str) -> None:
    fake.fail(fault, times=1)
    begun = time.monotonic()
    events = list(backend_of(fake, replace(QUICK, asked=2.0)).trace(asked(fake)))
    assert isinstance(events[-1], Finished), events[-1]
    assert len(fake.creations) == 2
    assert fake.made == 1
    told = [one for one in events if isinstance(one, Waiting) and one.seconds]
    assert told, "the wait is told with its seconds"
    if "wait" in fault:
        assert time.monotonic() - begun >= 0.95, "Retry-After is honoured"
        assert told[0].seconds == 1.0


@pytest.mark.parametrize("fault", ["hang", "drop", "500"])
def test_what_may_have_been_paid_is_asked_once(fake: FakeProvider, fault: str) -> None:
    fake.fail(fault, times=1)
    events = events_of(fake)
    assert len(fake.creations) == 1, "an image that may have been made is not asked for again"
    last = events[-1]
    if isinstance(last, Failed):
        assert "paid" in last.message, last
    else:
        assert fake.made == 1


@pytest.mark.parametrize("fault", ["truncated picture", "dropped picture", "picture elsewhere"])
def test_a_picture_that_did_not_arrive_is_fetched_again(fake: FakeProvider, fault: str) -> None:
    if fake.inline:
        return
    fake.fail(fault, times=1)
    assert isinstance(events_of(fake)[-1], Finished)
    assert fake.made == 1


def test_a_stop_ends_a_hang_at_once_and_keeps_no_connection(fake: FakeProvider) -> None:
    fake.fail("hang")
    stop = threading.Event()
    patient = Patience(answer=60.0)
    events = backend_of(fake, patient).trace(asked(fake), stop=stop)
    threading.Timer(0.3, stop.set).start()
    begun = time.monotonic()
    ended = list(events)
    assert isinstance(ended[-1], Finished)
    assert ended[-1].status == "stopped"
    assert time.monotonic() - begun < 5


def test_a_stop_ends_a_countdown_at_once(fake: FakeProvider) -> None:
    fake.fail("429")
    stop = threading.Event()
    slow = Patience(first=60.0, most=60.0)
    begun = time.monotonic()
    for event in backend_of(fake, slow).trace(asked(fake), stop=stop):
        if isinstance(event, Waiting) and event.seconds:
            stop.set()
    assert isinstance(event, Finished)
    assert event.status == "stopped"
    assert len(fake.creations) == 1
    assert time.monotonic() - begun < 5


def test_a_key_is_checked_without_an_image(fake: FakeProvider) -> None:
    backend_of(fake).check_key()
    assert fake.made == 0
    assert not fake.creations
    with pytest.raises(KeyRefused) as refused:
        backend_of(fake, key="another-key").check_key()
    assert "another-key" not in str(refused.value)


def test_a_key_that_the_provider_repeats_is_blotted_out(fake: FakeProvider) -> None:
    fake.refusal = lambda status: {"detail": f"The key {fake.key} is not known.", "error": f"bad {fake.key}"}  # type: ignore[method-assign]
    fake.fail("422")
    assert KEY not in repr(events_of(fake))


def test_the_same_request_is_paid_once(fake: FakeProvider, tmp_path: Any) -> None:
    from diffatlas.library import Library
    from diffatlas.operations.trace import stream

    library, backend = Library(tmp_path), backend_of(fake)
    first = collect(stream(asked(fake), backend=backend, library=library))
    again = collect(stream(asked(fake), backend=backend, library=library))
    assert first.status == again.status == "complete"
    assert again.cached_from == first.id
    assert fake.made == 1
    assert np.array_equal(first.images[0], again.images[0])
    other = collect(stream(asked(fake, seed=8), backend=backend, library=library))
    assert other.cached_from is None
    assert fake.made == 2
    for stored in tmp_path.rglob("*"):
        assert not stored.is_file() or KEY.encode() not in stored.read_bytes()


def test_a_key_is_checked_where_a_loop_runs_already(fake: FakeProvider) -> None:
    async def notebook() -> None:
        backend_of(fake).check_key()

    run_apart(notebook())
    assert fake.made == 0
