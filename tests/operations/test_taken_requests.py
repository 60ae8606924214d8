"""A request that a provider has taken is looked after, and not paid for again, by whoever asks for the same later."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffatlas.backends import open_backend
from diffatlas.library import Library
from diffatlas.operations.trace import stream
from diffatlas.params import GenerationParams
from diffatlas.run import Run, collect
from tests.backends.hosted.fakes.fal import FakeFal
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY, FakeProvider
from tests.backends.hosted.test_every_case import QUICK, asked

KILLED = """
import json, os, sys
from diffatlas.backends import open_backend
from diffatlas.library import Library
from diffatlas.operations.trace import stream
from diffatlas.params import GenerationParams

name, url, folder, params = sys.argv[1:]
backend = open_backend(name, key=os.environ["KEY_OF_THE_TEST"], url=url)
for event in stream(GenerationParams.from_dict(json.loads(params)), backend=backend, library=Library(folder)):
    if event.kind == "started":
        os._exit(9)
"""


@pytest.fixture(params=[FakeReplicate, FakeFal], ids=lambda one: one.name)
def fake(request: Any) -> Iterator[FakeProvider]:
    with request.param() as served:
        yield served


def run_of(
    fake: FakeProvider, library: Library, params: GenerationParams | None = None, reuse: bool = True
) -> Run:
    backend = open_backend(fake.name, key=KEY, url=fake.url, patience=QUICK)
    return collect(stream(params or asked(fake), backend=backend, library=library, reuse=reuse))


def test_a_request_whose_process_was_killed_is_paid_once(fake: FakeProvider, tmp_path: Path) -> None:
    words = [sys.executable, "-c", KILLED, fake.name, fake.url, str(tmp_path), asked(fake).canonical_json()]
    killed = subprocess.run(words, env={**os.environ, "KEY_OF_THE_TEST": KEY}, check=False)
    assert killed.returncode == 9
    assert fake.made == 1
    library = Library(tmp_path)
    assert [info.status for info in library.list()] == ["partial"]
    run = run_of(fake, library)
    assert run.status == "complete"
    assert fake.made == 1
    assert run_of(fake, library).cached_from == run.id


def test_a_picture_that_never_arrived_is_asked_for_again(fake: FakeProvider, tmp_path: Path) -> None:
    library = Library(tmp_path)
    fake.fail("dropped picture")
    assert run_of(fake, library).error["code"] == "network"
    fake.fail("")
    assert run_of(fake, library).status == "complete"
    assert fake.made == 1


def test_another_request_or_one_that_is_asked_anew_is_made(fake: FakeProvider, tmp_path: Path) -> None:
    library = Library(tmp_path)
    fake.fail("dropped picture")
    run_of(fake, library)
    fake.fail("")
    run_of(fake, library, asked(fake, seed=8))
    run_of(fake, library, reuse=False)
    assert fake.made == 3


def test_a_request_that_came_to_nothing_is_made_again(tmp_path: Path) -> None:
    with FakeReplicate() as fake:
        library = Library(tmp_path)
        fake.fail("dropped picture")
        run_of(fake, library)
        fake.fail("")
        fake.predictions.clear()
        assert run_of(fake, library).status == "complete"
        assert fake.made == 2
