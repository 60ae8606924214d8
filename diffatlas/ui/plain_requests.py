"""What is asked of the app over HTTP, looked at before Gradio takes it: of a shape that it can take, and one's own.

A tab calls itself by a session that its page drew at random, and each event in it has an id. Gradio lets everybody who
knows one listen to it, stop it and close it; here it belongs to the visitor who first came with it.
"""

from __future__ import annotations

import inspect
import json
import logging
import re
import threading
from collections import OrderedDict
from typing import Any

from diffatlas import files
from diffatlas.errors import InvalidParams, Unreadable
from diffatlas.ui.asked_values import check_sense
from diffatlas.ui.private_files import request_of
from diffatlas.ui.visitors import visitor_of

log = logging.getLogger("diffatlas")

#: Bytes of what is asked as JSON: pictures come as files, and what pages draw is far less.
MOST_BODY = 16_000_000
#: Lists in lists, and numbers that Gradio can send back.
DEEPEST, LARGEST = 40, 2**63
#: Sessions whose visitor is remembered.
REMEMBERED = 20_000
#: Parts of Gradio that no page of ours uses: the making of links that publish what a form holds, recordings, its own
#: editor, figures of what all visitors do, streams of sound, icons out of pictures of any size.
CLOSED = re.compile(
    r"(deep_link|process_recording|monitoring|vibe-\w+|undo-vibe-edit|pwa_icon|profiling|stream|dev)(/|$)"
)
NOT_YOURS = "This tab is another visitor's, or of a visit that is over: reload the page."
#: What Gradio sends a page that listens to a session which the server does not know, such as after a restart.
GONE = 'data: {"msg": "unexpected_error", "message": "404: Not Found", "session_not_found": true, "success": false}\n\n'
_API = "/gradio_api/"
_EVENTS = re.compile(r"queue/join|(?:run|api|call|call/v2)/([^/]*)")
_LISTENING = re.compile(r"call/(?:v2/)?[^/]*/([^/]*)")
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Refused(Exception):
    """A request is answered here: with this status, and a sentence."""

    def __init__(self, status: int, sentence: str, kind: str = "application/json") -> None:
        super().__init__(sentence)
        self.status, self.sentence, self.kind = status, sentence, kind

    @property
    def body(self) -> bytes:
        """What is sent: for a stream the sentence is all of it."""
        json_body = self.kind == "application/json"
        return (json.dumps({"detail": self.sentence}) if json_body else self.sentence).encode()


class PlainRequests:
    """ASGI middleware: what no page of the app sends is answered with a sentence and a status from 400 to 499."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._owners = Owners()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on, or answer why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        route = route_of(scope)
        try:
            _check_route(scope, route)
            if scope["method"] == "POST" and _is_json_route(route) and not _is_form(scope, route):
                asked = asked_of(await body_of(receive))
                self._check_asked(scope, route, asked)
                # As it was read here, which may be more than Gradio can read: half letters, bytes that are no text.
                receive = again(json.dumps(asked).encode(), receive)
            else:
                self._check_listener(scope, route)
            await self._pass_on(scope, route, receive, send)
        except Refused as refusal:
            await answer(send, refusal)

    async def _pass_on(self, scope: dict[str, Any], route: str, receive: Any, send: Any) -> None:
        began = False

        async def told(message: dict[str, Any]) -> None:
            nonlocal began
            began = True
            # Gradio tells of a value that a function refuses at once, such as one that is none of its choices, as of
            # an error of the server.
            if message.get("status") == 500 and route.startswith(("run/", "api/")):
                message = {**message, "status": 422}
            await send(message)

        try:
            await self._app(scope, receive, told)
        except Exception as error:
            # Values by name and forms are taken apart by Gradio alone.
            if began or not (route.startswith("call/v2/") or _is_form(scope, route)):
                raise
            log.info("A request could not be read: %s", error)
            raise Refused(
                422, "What is asked cannot be read: a value is missing, or is of another name."
            ) from error

    def _check_asked(self, scope: dict[str, Any], route: str, asked: dict[str, Any]) -> None:
        """Raise `Refused` for a body that Gradio or a page's function could not take, or that is of another's tab."""
        blocks = scope["app"].get_blocks()
        session = asked.get("session_hash")
        if session is not None or route in ("queue/join", "cancel", "component_server"):
            check_session(session)
        if route == "component_server":
            _check_function(blocks, asked)
        elif route == "cancel":
            _check_whole(asked, "fn_index")
            event = check_session(asked.get("event_id"), "event_id")
            if session_of(blocks, event) not in (None, session):
                raise Refused(403, NOT_YOURS)
        elif route == "reset":
            check_session(asked.get("event_id"), "event_id")
        else:
            _check_event(blocks, route, asked)
        if session is not None:
            self._owners.check(session, _visitor(scope))

    def _check_listener(self, scope: dict[str, Any], route: str) -> None:
        """Raise `Refused` for a stream of what happens in another visitor's tab."""
        session, queue = None, scope["app"].get_blocks()._queue
        if route == "queue/data":
            session = check_session(_query(scope).get("session_hash"))
            if session not in queue.pending_messages_per_session:
                raise Refused(200, GONE, "text/event-stream")
        elif route.startswith("heartbeat/"):
            session = check_session(route.partition("/")[2])
        elif found := _LISTENING.fullmatch(route):
            event = check_session(found[1], "event_id")
            session = session_of(scope["app"].get_blocks(), event) or event
            if session not in queue.pending_messages_per_session:
                raise Refused(404, "There is no such event, or it is over.")
        if session is not None:
            self._owners.check(session, _visitor(scope))


class Owners:
    """Whose a session is: the visitor's who first came with it. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: OrderedDict[str, str] = OrderedDict()

    def check(self, session: str, visitor: str | None) -> None:
        """Raise `Refused` where a session is another visitor's.

        visitor: None for one without a cookie, whose session is their only name: it becomes nobody's.
        """
        with self._lock:
            owner = self._owners.get(session)
            if owner is None and visitor is not None:
                self._owners[session] = visitor
            elif owner != visitor:
                raise Refused(403, NOT_YOURS)
            if session in self._owners:
                self._owners.move_to_end(session)
            while len(self._owners) > REMEMBERED:
                self._owners.popitem(last=False)


def route_of(scope: dict[str, Any]) -> str:
    """Return what of Gradio's a request is for: "queue/join"; "" for a page of the app."""
    path = scope["path"]
    _, found, route = path.partition(_API)
    if not found:
        # Some of them are not below the others.
        last = path.removeprefix(scope.get("root_path", "")).strip("/")
        return last if CLOSED.match(last) else ""
    return route.rstrip("/")


def asked_of(body: bytes) -> dict[str, Any]:
    """Return what a body asks. Raises `Refused` for anything but an object of bounded size and depth."""
    try:
        asked = files.parse_json(body, "The request", DEEPEST)
    except Unreadable as error:
        raise Refused(422, f"What is asked cannot be read: {error.reason}.") from error
    if not isinstance(asked, dict):
        raise Refused(422, "What is asked is no JSON object.")
    return asked


def check_session(value: Any, name: str = "session_hash") -> str:
    """Return the name of a session or of an event. Raises `Refused` for what can be none."""
    if not isinstance(value, str) or not _SESSION.fullmatch(value):
        raise Refused(422, f"{name} is missing, or is none: give 1 to 128 letters and digits.")
    return value


def session_of(blocks: Any, event: str) -> str | None:
    """Return the session of an event that is known; None of another."""
    queue = blocks._queue
    found = queue.event_ids_to_events.get(event)
    if found is not None:
        return found.session_hash
    pending = list(queue.pending_event_ids_session.items())
    return next((session for session, events in pending if event in events), None)


def _check_route(scope: dict[str, Any], route: str) -> None:
    if CLOSED.match(route):
        raise Refused(404, "There is nothing of this name here.")
    if "deep_link" in _query(scope):
        raise Refused(404, "There are no such links to this app.")


def _is_json_route(route: str) -> bool:
    return route in ("component_server", "cancel", "reset") or _EVENTS.fullmatch(route) is not None


def _check_event(blocks: Any, route: str, asked: dict[str, Any]) -> None:
    """Raise `Refused` for the call of an event that there is not, or whose values it cannot take."""
    named = _EVENTS.fullmatch(route)[1]
    index = asked.get("fn_index")
    if index is not None:
        _check_whole(asked, "fn_index")
    direct = route.startswith(("run/", "api/"))
    if route == "queue/join" or (direct and index is not None):
        fn = blocks.fns.get(index)
    else:
        fn = next((fn for fn in blocks.fns.values() if named and fn.api_name == named), None)
    if fn is None:
        raise Refused(404, "The app has no such function.")
    if asked.get("trigger_id") is not None:
        _check_whole(asked, "trigger_id")
    for name, kind in (("event_id", str), ("oauth_token", str), ("simple_format", bool)):
        if not isinstance(asked.get(name), (kind, type(None))):
            raise Refused(422, f"{name} is of another kind than it should be.")
    if asked.get("batched"):
        raise Refused(422, "Nothing here takes several calls in one: leave batched out.")
    if not route.startswith("call/v2"):
        data = asked.get("data")
        if not isinstance(data, list):
            raise Refused(422, "data is no list of the values of the function.")
        if direct and len(data) != len(fn.inputs):
            raise Refused(422, f"The function takes {len(fn.inputs)} values, not {len(data)}.")
    try:
        check_sense(asked, "The request", deepest=DEEPEST, largest=LARGEST)
    except InvalidParams as error:
        raise Refused(422, error.message) from error


def _check_function(blocks: Any, asked: dict[str, Any]) -> None:
    """Raise `Refused` for the call of a function that no component of the pages has."""
    _check_whole(asked, "component_id")
    block, name = blocks.blocks.get(asked["component_id"]), asked.get("fn_name")
    # Not asked of the component: a property would be worked out.
    found = inspect.getattr_static(block, name, None) if block and isinstance(name, str) else None
    if not getattr(found, "_is_server_fn", False):
        raise Refused(404, "The page has no such function.")
    if "data" not in asked:
        raise Refused(422, "data is missing: give what the function is asked.")


def _check_whole(asked: dict[str, Any], name: str) -> None:
    value = asked.get(name)
    if type(value) is not int or not 0 <= value < 2**31:
        raise Refused(422, f"{name} is missing, or is no whole number from 0.")


def _visitor(scope: dict[str, Any]) -> str | None:
    return visitor_of(request_of(scope))


def _query(scope: dict[str, Any]) -> dict[str, str]:
    from urllib.parse import parse_qsl

    text = scope.get("query_string", b"").decode("latin-1")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
    except ValueError as error:
        raise Refused(422, "The address asks for too much at once.") from error


def _is_form(scope: dict[str, Any], route: str) -> bool:
    """Whether a component is sent files: by the words that Gradio goes by."""
    kind = dict(scope.get("headers", ())).get(b"content-type", b"")
    return route == "component_server" and kind.startswith(b"multipart/form-data")


async def body_of(receive: Any) -> bytes:
    """Return the body of a request. Raises `Refused` where it is broken off or too large."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "The request was broken off.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY:
            raise Refused(
                413, f"This is too large: at most {files.bytes_words(MOST_BODY)} can be asked at once."
            )
        if not message.get("more_body", False):
            return b"".join(parts)


def again(body: bytes, receive: Any) -> Any:
    """Return a ``receive`` that gives a body that was read, and then what comes after it."""
    given = False

    async def receive_again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


async def answer(send: Any, refusal: Refused) -> None:
    """Answer with a refusal."""
    body = refusal.body
    headers = [(b"content-type", refusal.kind.encode()), (b"content-length", str(len(body)).encode())]
    if refusal.status == 413:
        # What is on its way is not read.
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
