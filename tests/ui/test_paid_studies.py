"""What the pages ask before many hosted images are paid for, and what a shared server's keys pay for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from diffatlas.capture.spec import Capture
from diffatlas.params import GenerationParams
from diffatlas.studies.plan_neighbourhood import plan_neighbourhood
from diffatlas.ui.key_services import KeyServices
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.study_runner import StudyRunner
from diffatlas.ui.study_services import Running
from diffatlas.ui.turns import Turns
from diffatlas.ui.wire.kinds import Nothing
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY


@pytest.fixture
def replicate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReplicate]:
    """A provider on loopback, and a shared server that lends its key."""
    with FakeReplicate() as fake:
        for name, value in {
            "REPLICATE_API_TOKEN": KEY,
            "DIFFATLAS_HOSTED_URLS": json.dumps({"replicate": fake.url}),
            "DIFFATLAS_MODE": "shared",
            "DIFFATLAS_HOSTED_FOR_VISITORS": "1",
            "DIFFATLAS_HOSTED_LEDGER": str(tmp_path / "hosted.sqlite"),
        }.items():
            monkeypatch.setenv(name, value)
        yield fake


def run(runner: StudyRunner, seeds: int) -> dict[str, Any]:
    base = GenerationParams(
        model="black-forest-labs/flux-schnell", prompt="a red circle", seed=1, num_inference_steps=4
    )
    study = plan_neighbourhood(base, "offset", k=seeds - 1, backend="replicate")
    *_, last = runner.run("visitor", "tab", lambda: (study, Capture()), True)
    return last


@pytest.fixture
def runner(tmp_path: Path) -> StudyRunner:
    return StudyRunner(Libraries(tmp_path / "runs", True), Turns(), Running())


def test_many_images_are_asked_for_twice_on_a_shared_server_too(replicate, runner, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_HOSTED_CONFIRM", "2")
    message = run(runner, 2)["error"]["message"]
    assert message.startswith("This asks for 2 images of FLUX.1 schnell at Replicate, about $0.006 by")
    assert "“Run all the same”" in message
    question = runner.sessions.question("tab")
    assert question.startswith("This asks for 2 images")
    assert question.endswith("Run it all the same?")
    assert replicate.creations == []
    runner.sessions.confirm("tab")
    assert run(runner, 2)["status"] == "complete"
    assert replicate.made == 2
    (told,) = [one for one in KeyServices().keys("visitor", Nothing())["keys"] if one["id"] == "replicate"]
    paid = "Made today: 2 images, about $0.006; this server pays for 10 a day, at all providers together."
    assert told["made"] == paid
    assert runner.sessions.question("tab") == ""


def test_a_visitor_gets_no_more_than_the_host_pays_for(replicate, runner, monkeypatch):
    monkeypatch.setenv("DIFFATLAS_HOSTED_VISITOR_IMAGES", "1")
    shown = run(runner, 3)
    assert replicate.made == 1
    assert "DIFFATLAS_HOSTED_VISITOR_IMAGES" in json.dumps(shown, default=str)
