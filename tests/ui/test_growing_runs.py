"""What a page gets that asks for what is new to it, against the whole value that a program is sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diffatlas.capture.spec import Capture
from diffatlas.events import Event, Finished, Started, Step
from diffatlas.library import Library
from diffatlas.operations.trace import shared_local_backend
from diffatlas.params import GenerationParams
from diffatlas.ui.components.run_view import RunView
from diffatlas.ui.growing_runs import GrowingRuns
from diffatlas.ui.live_runs import Asked, LiveRuns, Shelf
from diffatlas.ui.turns import Turns
from diffatlas.ui.wire.calls import CALLS
from diffatlas.ui.wire.runs import Grown

STEPS = 20


def events() -> Iterator[Event]:
    rng = np.random.default_rng(5)
    path = np.cumsum(rng.normal(size=(STEPS + 1, 1, 4, 8, 8)), axis=0).astype(np.float32)
    params = GenerationParams(prompt="a red circle", seed=7, width=64, height=64, scheduler="ddim")
    yield Started("20260101-000000-00000000", params, path[0], 14.6, STEPS, {"device": "cpu"})
    for index, latents in enumerate(path[1:]):
        preview = rng.integers(0, 255, (1, 64, 64, 3), dtype=np.uint8)
        yield Step(index, 999 - index, 10 - index / 2, latents, metrics={"norm": 1.0}, preview=preview)
    yield Finished("complete", 1.5)


#: What the page is told of a layer.
LAYER = {
    "id": "a layer",
    "name": "a",
    "label": "a",
    "locked": True,
    "visible": True,
    "colour": None,
    "seed": 7,
    "status": "complete",
    "steps": 3,
    "total_steps": 3,
    "latent_shape": [4, 8, 8],
    "prompt": "a",
}


class Page:
    """Keeps what it was told, as growing.js does."""

    def __init__(self, view: RunView, points: int | None = None) -> None:
        self.view = view
        self.value: dict[str, Any] = {"steps": [], "points": ""}
        self.changes = 0
        self.points = points
        self.told: list[dict[str, Any]] = []

    def ask(self) -> dict[str, Any]:
        news = self.view.news(self.changes, len(self.value["steps"]), self.points)
        CALLS["grown"].check(news)
        assert news["from"] == len(self.value["steps"])
        self.value = {**self.value, **news["fields"], "steps": [*self.value["steps"], *news["steps"]]}
        self.changes = news["changes"]
        self.points = news["placed"]
        self.told.append(news)
        return news


@pytest.mark.parametrize("every", [1, 3, 50])
@pytest.mark.parametrize("points", [None, 0])
def test_the_news_of_any_rhythm_make_the_whole_value(every: int, points: int | None) -> None:
    view = RunView("a red circle", "Shapes", "visitor")
    page = Page(view, points)
    for count, event in enumerate(events()):
        view.add(event)
        if count % every == 0:
            page.ask()
    page.ask()
    view.ended([LAYER])
    assert view.is_news(page.changes, STEPS, page.points)
    page.ask()
    assert page.value == view.value()
    assert not view.is_news(page.changes, STEPS, page.points)
    # Nothing twice: neither steps nor what was told at the start.
    sent = [step["index"] for news in page.told for step in news["steps"]]
    assert sent == list(range(STEPS))
    assert sum("metrics" in news["fields"] for news in page.told) == 1
    assert sum("run" in news["fields"] for news in page.told) == 1


def test_a_path_that_nobody_looks_at_is_not_drawn_before_the_end() -> None:
    view = RunView("a red circle", "Shapes", "visitor")
    page = Page(view)
    *growing, end = events()
    for event in growing:
        view.add(event)
        assert "points" not in page.ask()["fields"]
    assert page.value["points"] == ""
    # Whoever comes to look gets it although no step was made since.
    page.points = 0
    assert view.is_news(page.changes, STEPS, page.points)
    page.ask()
    live = page.value["points"]
    assert page.points == STEPS + 1
    assert "points" not in page.ask()["fields"]
    page.points = None
    view.add(end)
    assert "points" in page.ask()["fields"]
    assert len(page.value["points"]) == len(live)


def test_a_question_waits_for_news_and_an_unknown_run_is_refused() -> None:
    growing = GrowingRuns()
    view = RunView("a red circle", "Shapes", "visitor")
    first, second, *_ = events()
    view.add(first)
    growing.grown(view)
    told = json.loads(growing.ask(Grown(request=view.request, changes=0, steps=0)).body)
    assert told["fields"]["status"] == "running"

    answers = []
    asked = Grown(request=view.request, changes=told["changes"], steps=0)
    waiting = threading.Thread(target=lambda: answers.append(growing.ask(asked)))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    view.add(second)
    growing.grown(view)
    waiting.join(5)
    assert [step["index"] for step in json.loads(answers[0].body)["steps"]] == [0]

    known = {"request": view.request, "changes": 0, "steps": 0, "points": None}
    for bad, words in (
        ({**known, "request": "?"}, "no longer knows"),
        ({**known, "steps": -1}, "steps is -1"),
        ({**known, "request": 3}, "request is 3"),
        (None, "is missing"),
    ):
        assert words in growing.function(bad)["error"]["message"]


def test_a_page_is_told_what_begins_and_what_has_ended_and_asks_for_the_rest(tmp_path: Path) -> None:
    live = LiveRuns(shared_local_backend(), {}, Turns(), Shelf(lambda visitor: Library(tmp_path)))
    tab = SimpleNamespace(session_hash="tab", request=None, cookies={})

    def begin(runs: int) -> Generator[dict[str, Any], None, None]:
        params = GenerationParams(prompt="a red circle", seed=7, num_inference_steps=3)
        return live.follow(
            params.prompt, params.model, lambda: Asked(params, Capture(), runs, "next", False), tab
        )

    def known(request: str) -> Any:
        return live.growing.function({"request": request, "changes": 0, "steps": 0, "points": None})

    told = list(begin(2))
    assert [brief["status"] for brief in told] == ["loading", "loading", "complete"]
    first, second = dict.fromkeys(brief["request"] for brief in told)
    for request, seed in ((first, 7), (second, 8)):
        news = json.loads(known(request).body)
        assert (news["fields"]["status"], news["fields"]["run"]["seed"]) == ("complete", seed)
        assert [step["index"] for step in news["steps"]] == [0, 1, 2]
    assert json.loads(known(second).body)["changes"] == told[-1]["changes"]

    # Nobody asks for the run of a tab that was closed.
    leaving = begin(1)
    request = next(leaving)["request"]
    leaving.close()
    assert "no longer knows" in known(request)["error"]["message"]
