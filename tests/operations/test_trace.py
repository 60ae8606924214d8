import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import pytest

import diffatlas
from diffatlas import Capture, GenerationParams
from diffatlas.backends import open_backend
from diffatlas.errors import InvalidParams
from diffatlas.library import Library
from diffatlas.operations import trace as trace_room
from diffatlas.operations.trace import shared_local_backend, stream
from diffatlas.run import collect


@pytest.fixture
def asked(sd_pipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "sd"
    sd_pipe.save_pretrained(folder)
    return GenerationParams(
        model=str(folder), prompt="a red circle", seed=7, num_inference_steps=4, width=64, height=64
    )


def test_the_public_call_and_the_stream_are_one(asked, tmp_path):
    library = Library(tmp_path)
    run = diffatlas.trace(asked, Capture(previews="every"))
    streamed = collect(stream(asked, Capture(previews="every"), library=library))
    stored = library.load(streamed.id)
    assert run.status == stored.status == "complete"
    for other in (streamed, stored):
        assert np.array_equal(run.latents, other.latents)
        assert np.array_equal(run.images[0], other.images[0])
        assert [s.metrics for s in run.steps] == [s.metrics for s in other.steps]
    assert stored.params == run.params
    # The model stayed resident between the two.
    assert shared_local_backend() is shared_local_backend()


def test_a_wrong_request_raises(asked):
    with pytest.raises(InvalidParams, match="prompt is empty"):
        diffatlas.trace(asked.replace(prompt=""))


def test_threads_that_ask_first_at_once_get_one_backend(monkeypatch):
    made, threads = [], 6

    def slowly(name):
        made.append(name)
        time.sleep(0.05)
        return open_backend(name)

    monkeypatch.setattr(
        trace_room, "_usual_backend", lru_cache(maxsize=1)(trace_room._usual_backend.__wrapped__)
    )
    monkeypatch.setattr(trace_room, "open_backend", slowly)
    together = threading.Barrier(threads)

    def ask():
        together.wait()
        return shared_local_backend()

    with ThreadPoolExecutor(threads) as pool:
        found = [one.result() for one in [pool.submit(ask) for _ in range(threads)]]
    assert made == ["local"]
    assert len(set(map(id, found))) == 1
