"""Keys that visitors type: kept for their visit, used for them alone, and never told to anybody."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from diffatlas.errors import InvalidParams, KeyRefused
from diffatlas.events import Failed, Finished
from diffatlas.params import GenerationParams
from diffatlas.ui.key_services import KeyServices
from diffatlas.ui.visitor_keys import VisitorKeys, backend_for
from diffatlas.ui.wire.calls import CALLS
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY

WRONG = "another-key-0815"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def replicate(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[FakeReplicate]:
    with FakeReplicate() as fake:
        monkeypatch.setenv("DIFFATLAS_HOSTED_URLS", json.dumps({"replicate": fake.url}))
        monkeypatch.setenv("DIFFATLAS_HOSTED_LEDGER", str(tmp_path / "hosted.sqlite"))
        monkeypatch.delenv("REPLICATE_API_TOKEN", raising=False)
        yield fake


def page(keys: VisitorKeys) -> Any:
    """Ask as the page does, each answer held against its type."""
    calls = KeyServices(keys).calls

    def ask(visitor: str, name: str, **asked: Any) -> Any:
        answer = calls[name](visitor, CALLS[name].read(asked))
        CALLS[name].check(answer)
        assert KEY not in json.dumps(answer)
        assert WRONG not in json.dumps(answer)
        return answer

    def source(visitor: str) -> str:
        return next(
            one["source"] for one in ask(visitor, "settings_keys")["keys"] if one["id"] == "replicate"
        )

    return SimpleNamespace(ask=ask, source=source)


def test_keys_go_with_the_last_tab_and_stay_over_a_reload():
    clock = Clock()
    keys = VisitorKeys(away=120, clock=clock)
    keys.enter("me", "tab 1")
    keys.put("me", "replicate", KEY)
    keys.leave("tab 1")
    clock.now = 5
    keys.enter("me", "tab 2")
    clock.now = 1000
    assert keys.of("me", "replicate").get_secret_value() == KEY
    keys.enter("me", "tab 3")
    keys.leave("tab 2")
    clock.now = 2000
    assert keys.of("me", "replicate") is not None
    keys.leave("tab 3")
    clock.now = 2119
    assert keys.of("me", "replicate") is not None
    clock.now = 2120
    assert keys.of("me", "replicate") is None
    assert len(keys) == 0


def test_a_key_of_nobody_with_a_tab_goes_too():
    clock = Clock()
    keys = VisitorKeys(away=120, clock=clock)
    keys.put("a script", "replicate", KEY)
    clock.now = 121
    keys.drop()
    assert len(keys) == 0


def test_a_key_is_seen_by_nobody_else_and_can_be_forgotten():
    keys = VisitorKeys()
    keys.put("me", "replicate", f" {KEY}\n")
    assert keys.of("you", "replicate") is None
    assert keys.of("me", "replicate").get_secret_value() == KEY
    assert KEY not in f"{keys!r} {keys.of('me', 'replicate')!r} {keys.of('me', 'replicate')}"
    keys.forget("you", "replicate")
    keys.forget("me", "replicate")
    assert keys.of("me", "replicate") is None


@pytest.mark.parametrize(
    "key", ["", "  ", None, 5, "two words-4711", "line\nbreak-4711", "ключ-4711", "4711" * 999]
)
def test_what_is_no_key_is_refused_without_being_repeated(key: Any):
    keys = VisitorKeys()
    with pytest.raises((InvalidParams, KeyRefused)) as error:
        keys.put("me", "replicate", key)
    assert error.value.field == "key"
    assert "4711" not in str(error.value)
    assert len(keys) == 0


def test_an_unknown_provider_is_refused():
    with pytest.raises(InvalidParams, match="replicate"):
        VisitorKeys().put("me", "nobody", KEY)


def test_the_page_learns_only_whether_there_is_a_key(
    replicate: FakeReplicate, monkeypatch: pytest.MonkeyPatch
):
    keys = VisitorKeys()
    room = page(keys)
    assert room.source("me") == "none"
    monkeypatch.setenv("REPLICATE_API_TOKEN", KEY)
    assert room.source("me") == "environment"
    room.ask("me", "key_put", provider="replicate", key=WRONG)
    assert (room.source("me"), room.source("you")) == ("typed", "environment")
    room.ask("me", "key_forget", provider="replicate")
    assert room.source("me") == "environment"


def test_a_key_is_checked_by_the_provider(replicate: FakeReplicate, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    room = page(VisitorKeys())
    nothing = room.ask("me", "key_check", provider="replicate")
    assert not nothing["taken"]
    assert "https://replicate.com" in nothing["words"]
    assert not replicate.seen
    room.ask("me", "key_put", provider="replicate", key=WRONG)
    refused = room.ask("me", "key_check", provider="replicate")
    assert not refused["taken"]
    assert "The reason of Replicate for 401" in refused["words"]
    assert "https://replicate.com" in refused["words"]
    room.ask("me", "key_put", provider="replicate", key=KEY)
    assert room.ask("me", "key_check", provider="replicate") == {
        "taken": True,
        "words": "Replicate takes this key.",
    }
    assert replicate.seen[-1].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in caplog.text
    assert WRONG not in caplog.text


def test_a_provider_out_of_reach_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DIFFATLAS_HOSTED_URLS", json.dumps({"replicate": "http://127.0.0.1:9"}))
    keys = VisitorKeys()
    keys.put("me", "replicate", KEY)
    told = page(keys).ask("me", "key_check", provider="replicate")
    assert not told["taken"]
    assert "Replicate" in told["words"]


def test_a_run_uses_the_key_of_its_visitor(replicate: FakeReplicate):
    keys = VisitorKeys()
    keys.put("me", "replicate", KEY)
    params = GenerationParams(
        model=replicate.model or "black-forest-labs/flux-dev", prompt="a red circle", num_inference_steps=20
    )
    events = list(backend_for("me", "tab", "replicate", keys).trace(params))
    assert isinstance(events[-1], Finished)
    assert KEY.encode() not in pickle.dumps(events)
    keys.put("me", "replicate", WRONG)
    (*_, last) = backend_for("me", "tab", "replicate", keys).trace(params)
    assert isinstance(last, Failed)
    assert (last.code, WRONG in last.message) == ("auth", False)


def test_the_hosts_key_serves_visitors_only_if_the_host_says_so(
    replicate: FakeReplicate, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("REPLICATE_API_TOKEN", KEY)
    monkeypatch.setenv("DIFFATLAS_MODE", "shared")
    keys = VisitorKeys()
    room = page(keys)
    assert room.source("me") == "none"
    with pytest.raises(KeyRefused, match="Settings"):
        backend_for("me", "tab", "replicate", keys)
    assert not room.ask("me", "key_check", provider="replicate")["taken"]
    assert not replicate.seen
    monkeypatch.setenv("DIFFATLAS_HOSTED_FOR_VISITORS", "1")
    assert room.source("me") == "environment"
    backend_for("me", "tab", "replicate", keys).check_key()
    assert replicate.seen
