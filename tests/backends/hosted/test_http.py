"""The layer of requests: whom the key goes to, what a provider's words become, and how long it asks to wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from diffatlas.backends.hosted import adapter_of
from diffatlas.backends.hosted.http import Answer, Http, Patience
from diffatlas.backends.hosted.refusals import error_of, read_json, seconds_to_wait, words_of
from diffatlas.errors import HostedError, NetworkError
from tests.apart import run_apart
from tests.backends.hosted.fakes.replicate import FakeReplicate
from tests.backends.hosted.fakes.server import KEY, Reply, Seen

PROVIDER = adapter_of("replicate").provider
QUICK = Patience(answer=0.5, attempts=2, first=0.02, most=0.05)


@pytest.fixture
def fake() -> Iterator[FakeReplicate]:
    with FakeReplicate() as served:
        yield served


def ask(fake: FakeReplicate, path: str, method: str = "GET", **options: Any) -> Answer:
    async def once() -> Answer:
        facts = replace(PROVIDER, url=fake.url)
        async with Http(facts, SecretStr(KEY), lambda *_: None, lambda *_: None, QUICK) as http:
            return await http.request(method, path, **options)

    return run_apart(once())


@pytest.mark.parametrize(
    "url",
    [
        "https://elsewhere.example/v1",
        "http://127.0.0.1:1/v1",
        "https://api.replicate.com.evil.example/",
        "http://@/",
    ],
)
def test_the_key_goes_to_no_other_host(fake: FakeReplicate, url: str) -> None:
    with pytest.raises(HostedError, match="not its own"):
        ask(fake, url)


def test_a_proxy_of_the_environment_never_sees_the_key(
    fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("no_proxy", "")
    assert ask(fake, "/v1/account").status == 200


def test_an_answer_that_is_too_large_is_left(fake: FakeReplicate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffatlas.backends.hosted.http.MOST_BYTES", 1000)
    fake.reply = lambda seen: Reply(b"x" * 2000)  # type: ignore[method-assign]
    with pytest.raises(HostedError, match="more than"):
        ask(fake, "/v1/account")


def test_an_answer_in_a_packed_form_is_refused(fake: FakeReplicate) -> None:
    fake.reply = lambda seen: Reply(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})  # type: ignore[method-assign]
    with pytest.raises(HostedError, match="packed"):
        ask(fake, "/v1/account")


def test_a_page_of_a_gateway_is_not_repeated(fake: FakeReplicate) -> None:
    page = b"<html><script>alert(1)</script><h1>502 Bad Gateway</h1></html>"
    fake.reply = lambda seen: Reply(page, 502, kind="text/html")  # type: ignore[method-assign]
    with pytest.raises(HostedError) as refused:
        ask(fake, "/v1/account")
    assert "<" not in refused.value.message
    assert len(fake.seen) == QUICK.attempts, "what costs nothing is asked again"


def test_a_provider_that_is_not_there_is_told(fake: FakeReplicate) -> None:
    async def once() -> None:
        facts = replace(PROVIDER, url="http://127.0.0.1:9")
        async with Http(facts, SecretStr(KEY), lambda *_: None, lambda *_: None, QUICK) as http:
            await http.post("/v1/predictions", json={}, paid=True)

    with pytest.raises(NetworkError, match="cannot be reached"):
        run_apart(once())


def test_a_paid_request_that_cannot_have_arrived_is_made_again(fake: FakeReplicate) -> None:
    seen: list[Seen] = []

    def reply(one: Seen) -> Reply:
        seen.append(one)
        return Reply({}, 429) if len(seen) == 1 else Reply({"id": "a", "status": "starting"}, 201)

    fake.reply = reply  # type: ignore[method-assign]
    assert ask(fake, "/v1/x", "POST", json={"a": 1}, paid=True).status == 201
    assert [one.json() for one in seen] == [{"a": 1}, {"a": 1}]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_what_a_provider_asks_to_wait_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert seconds_to_wait(headers) == seconds


def test_a_date_to_come_again_is_read() -> None:
    later = datetime.now(UTC) + timedelta(seconds=30)
    assert seconds_to_wait({"retry-after": format_datetime(later, usegmt=True)}) == pytest.approx(30, abs=2)
    past = datetime(2001, 1, 1, tzinfo=UTC)
    assert seconds_to_wait({"retry-after": format_datetime(past, usegmt=True)}) == 0.0


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["detail", "error", "message", "x"]), inner)
        ),
    ),
    st.integers(100, 599),
)
def test_any_answer_becomes_one_line_without_the_key(body: Any, status: int) -> None:
    said = words_of({"detail": [body, f"key {KEY}"], "error": body}, KEY)
    error = error_of(PROVIDER, status, said, 3.0)
    assert KEY not in error.message
    assert error.message.isprintable()
    assert len(said) <= 300


def test_json_that_is_none_is_none() -> None:
    assert read_json(b"{") is None
    assert read_json(b"\xff\xfe") is None
    assert read_json(b"[" * 100_000) is None
