"""The places elsewhere that a page's models can run on: which are offered, where another Atlas is, and what each lists.

All of it is one for the process. On a shared server only its host names another Atlas: an address that a visitor types
would have the server reach into its own network.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from pydantic import SecretStr

from diffatlas.address import read_url
from diffatlas.backends import open_backend
from diffatlas.backends.elsewhere import NAMES, TOKEN, host_of, lacking, refused
from diffatlas.errors import DiffAtlasError, InvalidParams
from diffatlas.registry import ELSEWHERE, ModelEntry, note_models
from diffatlas.settings import is_shared, settings

#: Seconds for which a list of models is believed, and for which a place that gave none is left alone.
BELIEVED, LEFT_ALONE = 600.0, 60.0

_lock = threading.Lock()
#: Held while a backend is opened, which takes seconds where it starts workers.
_opening = threading.Lock()
_typed = ""
_running = 0
#: Backend -> when it was asked last, and whether it answered.
_asked: dict[str, tuple[float, bool]] = {}
#: Backend -> what its runs run on, as it said with its models.
_devices: dict[str, str] = {}
#: (Backend, question, model) -> what it said.
_said: dict[tuple[str, str, str], Any] = {}
#: Answers of `said` that are kept.
MOST_SAID = 500


def address() -> str:
    """Return the address of another Atlas: the one that was typed, else that of the environment, else ""."""
    with _lock:
        typed = _typed
    return typed or settings().remote_url or ""


def set_address(text: str) -> str:
    """Keep the address of another Atlas for this process, "" for that of the environment, and return it.

    Raises `InvalidParams` for what is no address, and on a shared server.
    """
    if is_shared():
        raise InvalidParams("On a shared server only its host names another Atlas.", field="address")
    url = text.strip().rstrip("/")
    if url:
        if "://" not in url:
            raise InvalidParams(
                f"{url!r:.80} is no address of an Atlas: it begins with https:// or http://, such as "
                "http://192.168.1.5:7861.",
                field="address",
            )
        read_url(url)
    before = address()
    global _typed
    with _lock:
        _typed = url
    if address() != before:
        forget_models("remote")
    return address()


def forget_models(backend: str) -> None:
    """Forget what a place said that it offers."""
    with _lock:
        _asked.pop(backend, None)
        _devices.pop(backend, None)
        _said.clear()
    note_models(backend, ())


def why_not(backend: str) -> str:
    """Return why a place elsewhere is not offered and what to do, in a sentence or two; "" where it is."""
    if backend == "remote" and not is_shared():
        return "" if address() else "It has no address yet: the page Settings takes one."
    return refused(backend) or lacking(backend)


def offered() -> list[tuple[str, str]]:
    """Return the places elsewhere that are offered: (backend, what it is called)."""
    return [(backend, NAMES[backend]) for backend in ELSEWHERE if not why_not(backend)]


def check_offered(backend: str) -> None:
    """Raise `InvalidParams` for a place elsewhere that is not offered."""
    if backend in ELSEWHERE and (why := why_not(backend)):
        raise InvalidParams(f"{NAMES[backend]} cannot be chosen here. {why}", field="backend")


def opened(backend: str, token: SecretStr | None = None) -> Any:
    """Return the backend of a place elsewhere.

    token: that for another Atlas at its address now; that of the environment, which goes to the address of the
    environment alone, where it is None.

    Raises `InvalidParams` where it is not offered, and what it raises itself.
    """
    check_offered(backend)
    if backend != "remote":
        return _shared(backend)
    url = address()
    held = token if isinstance(token, SecretStr) else _token_of_environment(url)
    return open_backend("remote", url=url, token=held.get_secret_value() if held else "")


def ask_models(backend: str, token: SecretStr | None = None) -> list[ModelEntry]:
    """Ask a place elsewhere for its models, keep them for `diffatlas.registry.list_models`, and return them.

    Raises as `opened` does, and what the place raises.
    """
    url = address()
    answered = False
    try:
        place = opened(backend, token)
        found = place.models()
        device = place.runs_on() if hasattr(place, "runs_on") else ""
        answered = True
        with _lock:
            _devices[backend] = device
    finally:
        with _lock:
            _asked[backend] = (time.monotonic(), answered)
    # Another address may have been typed meanwhile.
    return note_models(backend, found) if backend != "remote" or address() == url else found


def learn_models(backend: str, token: SecretStr | None = None, anew: bool = False) -> DiffAtlasError | None:
    """Ask a place for its models unless it was asked lately, and return what went wrong, None where nothing did.

    anew: whether one that did not answer lately is asked all the same.
    """
    with _lock:
        when, answered = _asked.get(backend, (0.0, False))
    left_alone = BELIEVED if answered else 0.0 if anew else LEFT_ALONE
    due = not when or time.monotonic() - when > left_alone
    if backend in ELSEWHERE and due and not why_not(backend):
        try:
            ask_models(backend, token)
        except DiffAtlasError as error:
            return error
    return None


def device_of(backend: str) -> str:
    """Return what the runs of a place run on, in a few words; "" where it has not said that."""
    with _lock:
        return _devices.get(backend, "")


def said(backend: str, question: str, model: str, token: SecretStr | None = None, unknown: Any = None) -> Any:
    """Return what a place elsewhere says of a model, ``unknown`` where it says nothing. It is asked once.

    question: "info", "takes_picture" or "guidance_kind", as `diffatlas.backends.local.LocalBackend` has them; a backend
    that has no such method says nothing.
    """
    key = (backend, question, model)
    with _lock:
        if key in _said:
            return _said[key]
    try:
        ask = getattr(opened(backend, token), question, None)
        found = unknown if ask is None else ask(model)
    except DiffAtlasError:
        return unknown
    with _lock:
        if len(_said) < MOST_SAID:
            _said[key] = found
    return found


def has_token_of_environment(url: str) -> bool:
    """Whether the environment has a token for the Atlas at this address."""
    return _token_of_environment(url) is not None


@contextmanager
def counted() -> Iterator[None]:
    """Count a run of a page among those that are under way elsewhere, as long as this lasts."""
    global _running
    with _lock:
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1


def running() -> int:
    """Return how many runs of pages are under way elsewhere."""
    with _lock:
        return _running


def host() -> str:
    """Return host and port of another Atlas, "" where none is named."""
    return host_of(address())


def _token_of_environment(url: str) -> SecretStr | None:
    token = os.environ.get(TOKEN, "").strip() if url == settings().remote_url else ""
    return SecretStr(token) if token else None


def _shared(backend: str) -> Any:
    """The backend of this process, opened once, whoever asks meanwhile: what it has started serves all pages."""
    with _opening:
        return _opened_once(backend)


@lru_cache(maxsize=len(ELSEWHERE))
def _opened_once(backend: str) -> Any:
    return open_backend(backend)
