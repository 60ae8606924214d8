"""Run in a tab: a double click is one run, a click in the last moments of one is the next, programs run at will."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from diffatlas.ui import once as module
from diffatlas.ui.app import build_app
from diffatlas.ui.libraries import Libraries
from diffatlas.ui.once import once_a_tab


def request(tab: str = "one", user: str | None = "app") -> gr.Request:
    asked = gr.Request.__new__(gr.Request)
    headers = {} if user is None else {"x-gradio-user": user}
    asked.__dict__.update(request=SimpleNamespace(headers=headers), session_hash=tab, kwargs={})
    return asked


class Runs:
    """Runs that go on until they are let go."""

    def __init__(self) -> None:
        self.made: list[int] = []
        self.go = threading.Event()

    def run(self, number: int, request: gr.Request) -> Generator[str, None, None]:
        self.made.append(number)
        yield "begun"
        self.go.wait(10)
        yield "ended"


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DOUBLE", 0.1)
    monkeypatch.setattr(module, "PATIENCE", 0.5)


def test_gradio_sees_the_function_itself(runs: Runs) -> None:
    wrapped = once_a_tab(runs.run)
    assert list(inspect.signature(wrapped).parameters) == ["number", "request"]
    assert inspect.isgeneratorfunction(wrapped)


def test_a_double_click_is_one_run(runs: Runs) -> None:
    run = once_a_tab(runs.run)
    first = run(1, request())
    assert next(first) == "begun"
    began = time.monotonic()
    assert list(run(2, request())) == [gr.skip()]
    assert time.monotonic() - began < 0.3
    assert next(run(3, request("another tab"))) == "begun"
    assert runs.made == [1, 3]


def test_a_click_while_one_runs_is_nothing_and_in_its_last_moments_is_the_next(runs: Runs) -> None:
    run = once_a_tab(runs.run)
    first = run(1, request())
    next(first)
    time.sleep(0.15)
    assert list(run(2, request())) == [gr.skip()]

    def end() -> None:
        time.sleep(0.2)
        runs.go.set()
        assert list(first) == ["ended"]

    thread = threading.Thread(target=end)
    thread.start()
    assert list(run(3, request())) == ["begun", "ended"]
    thread.join()
    assert runs.made == [1, 3]


def test_a_run_that_failed_or_was_left_lets_the_next_begin(runs: Runs) -> None:
    def broken(request: gr.Request) -> Generator[Any, None, None]:
        yield 1
        raise RuntimeError("broken")

    run = once_a_tab(broken)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            list(run(request()))
    left = once_a_tab(runs.run)
    first = left(1, request())
    next(first)
    first.close()
    assert next(left(2, request())) == "begun"


@pytest.mark.parametrize("user", ["api", None])
def test_programs_run_as_often_as_they_ask(runs: Runs, user: str | None) -> None:
    run = once_a_tab(runs.run)
    for number in range(3):
        next(run(number, request(user=user)))
    assert runs.made == [0, 1, 2]


def test_a_model_that_is_told_twice_is_looked_up_once(tmp_path: Path) -> None:
    app = build_app(Libraries(tmp_path))
    choose = next(one.fn for one in app.fns.values() if getattr(one.fn, "__name__", "") == "on_model")
    first = choose("shapes-dit", "shapes", "local", request())
    next(first)
    # By Enter, and by leaving the field; another tab asks for itself.
    ((said, *rest),) = choose("shapes-dit", "shapes", "local", request())
    assert [said, *rest] == [gr.skip()] * len([said, *rest])
    assert next(choose("shapes-dit", "shapes", "local", request("another")))[0] != gr.skip()
    assert "shapes-dit" in list(first)[-1]
    assert len(list(choose("shapes", "shapes-dit", "local", request()))) == 2
