"""The paths that another Atlas asks, as an ASGI app (docs/remote.md)."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from diffatlas import __version__
from diffatlas.backends import batching, wire
from diffatlas.backends.hosted.refusals import read_json
from diffatlas.backends.listed import refuse_server_files, refuse_unlisted
from diffatlas.backends.remote.protocol import (
    BINARY,
    CLIENT_HEADER,
    PREFIX,
    PROTOCOL,
    VERSION_HEADER,
    error_to_plain,
    to_plain,
)
from diffatlas.errors import (
    BackendFailure,
    DiffAtlasError,
    InvalidParams,
    KeyRefused,
    OverBound,
    RunNotFound,
    TooMuch,
)
from diffatlas.registry import list_models
from diffatlas.serving.access import check_access
from diffatlas.serving.limits import Limits
from diffatlas.serving.ndjson import REFERENCE_HEADER, LineStream, asked_of_reference
from diffatlas.serving.runs import Runs, Work
from diffatlas.serving.stream import EventStream

#: The status of an answer by the class of its error; 422 for all others that a user can cause.
STATUS = ((KeyRefused, 401), (RunNotFound, 404), (TooMuch, 429), (BackendFailure, 500))
_ID = re.compile(r"[0-9a-f]{32}")
_CLIENT = re.compile(r"[A-Za-z0-9_-]{8,64}")
#: Bytes of a body of JSON.
MOST_JSON = 100_000


class Serving:
    """ASGI app: answers other Atlases.

    work: what runs are made on. token: what is asked for; None where there is none. open_here: whether programs of
    this machine may ask where there is none. reference: whether ``/trajectory`` is served too.
    """

    def __init__(
        self,
        work: Work,
        token: SecretStr | None,
        open_here: Callable[[], bool] = lambda: True,
        limits: Limits | None = None,
        reference: bool = False,
    ) -> None:
        self.limits = limits or Limits()
        self.runs = Runs(work, self.limits)
        self._token = token
        self._open_here = open_here
        self._bodies = asyncio.Semaphore(self.limits.bodies)
        routes = [
            Route(PREFIX + "info", self._info),
            Route(PREFIX + "models", self._models),
            Route(PREFIX + "model", self._model, methods=["POST"]),
            Route(PREFIX + "resolve", self._resolve, methods=["POST"]),
            Route(PREFIX + "identity", self._identity, methods=["POST"]),
            Route(PREFIX + "estimate", self._estimate, methods=["POST"]),
            Route(PREFIX + "runs", self._begin, methods=["POST"]),
            Route(PREFIX + "runs/{id}/events", self._events),
            Route(PREFIX + "runs/{id}/wanted", self._wanted, methods=["POST"]),
            Route(PREFIX + "runs/{id}", self._stop, methods=["DELETE"]),
        ]
        if reference:
            routes.append(Route("/trajectory", self._trajectory, methods=["POST"]))
        handlers: dict[Any, Any] = {DiffAtlasError: _refused, 404: _no_path, 405: _no_path}
        self._app = Starlette(routes=routes, exception_handlers=handlers)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer a request; every answer names the version of the protocol."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(VERSION_HEADER.lower().encode(), str(PROTOCOL).encode())]
                own.append((b"x-content-type-options", b"nosniff"))
                message = {**message, "headers": [*message.get("headers", ()), *own]}
            await send(message)

        try:
            check_access(scope, self._token, self._open_here())
            await self._app(scope, receive, marked)
        except DiffAtlasError as error:
            await refusal(error)(scope, receive, marked)
        except ClientDisconnect:
            pass

    async def _info(self, request: Request) -> Response:
        def found() -> dict[str, Any]:
            backend = self._backend()
            return {
                "protocol": PROTOCOL,
                "wire": wire.VERSION,
                "version": __version__,
                "device": backend.device,
                "dtype": backend.dtype,
                "shared": self.runs.work.shared,
                "capabilities": to_plain(backend.capabilities),
            }

        return JSONResponse(await run_in_threadpool(found))

    async def _models(self, request: Request) -> Response:
        entries = await run_in_threadpool(list_models, "local")
        return JSONResponse({"models": [to_plain(entry) for entry in entries]})

    async def _model(self, request: Request) -> Response:
        asked = _plain(await self._body(request, MOST_JSON))
        model = asked.get("model")
        if not isinstance(model, str):
            raise InvalidParams("Name a model.", field="model")

        def found() -> dict[str, Any]:
            if self.runs.work.shared:
                refuse_unlisted(model)
            backend = self._backend()
            return {
                "info": to_plain(backend.info(model)),
                "guidance_methods": list(backend.guidance_methods(model)),
                "guidance_kind": backend.guidance_kind(model),
                "takes_picture": to_plain(backend.takes_picture(model)),
                "loaded": backend.is_loaded(model),
            }

        return JSONResponse(await run_in_threadpool(found))

    async def _resolve(self, request: Request) -> Response:
        asked = await self._asked(request)
        found = await run_in_threadpool(self._backend().resolve, asked.cells[0])
        return Response(wire.asked_to_bytes(wire.asked_of(found, asked.capture)), media_type=BINARY)

    async def _identity(self, request: Request) -> Response:
        asked = await self._asked(request)
        batched = request.query_params.get("batched") == "yes"
        found = await run_in_threadpool(self._backend().identity, asked.cells[0], batched)
        return JSONResponse({"identity": found})

    async def _estimate(self, request: Request) -> Response:
        asked = await self._asked(request)
        found = await run_in_threadpool(self._backend().estimate, asked.cells[0], asked.capture)
        return JSONResponse({"estimate": to_plain(found)})

    async def _begin(self, request: Request) -> Response:
        id = request.query_params.get("id") or secrets.token_hex(16)
        if not _ID.fullmatch(id):
            raise InvalidParams("The id of a run is 32 digits and letters from a to f.", field="id")
        asked = await self._asked(request)
        packing = request.query_params.get("packing") == "yes"
        run = await run_in_threadpool(self.runs.begin, id, client_of(request), asked, packing)
        return JSONResponse({"run": run.id}, status_code=201)

    async def _events(self, request: Request) -> Any:
        at = request.query_params.get("from", "0")
        if not re.fullmatch(r"[0-9]{1,9}", at):
            raise InvalidParams("Events are asked for from a number on.", field="from")
        return EventStream(self.runs.find(request.path_params["id"]), int(at), self.limits.alive)

    async def _wanted(self, request: Request) -> Response:
        self.runs.find(request.path_params["id"])
        return JSONResponse({})

    async def _stop(self, request: Request) -> Response:
        self.runs.stop(request.path_params["id"])
        return JSONResponse({})

    async def _trajectory(self, request: Request) -> Any:
        if not request.headers.get(REFERENCE_HEADER):
            raise KeyRefused(f"A request of this kind has the header {REFERENCE_HEADER}.")
        asked = asked_of_reference(_plain(await self._body(request, MOST_JSON)))
        self.check(asked)
        client = client_of(request)

        def begin() -> LineStream:
            backend = self._backend()
            params = backend.resolve(asked.cells[0])
            loaded, device = backend.is_loaded(params.model), backend.device
            run = self.runs.begin(secrets.token_hex(16), client, asked, packing=False)
            return LineStream(run, self.limits.alive, params, device, loaded)

        return await run_in_threadpool(begin)

    def check(self, asked: wire.Asked) -> None:
        """Raise the typed error of a request that may not run here."""
        if self.runs.work.shared:
            for cell in asked.cells:
                refuse_server_files(cell)
        if asked.batch:
            batching.check_cells(asked.cells)

    def _backend(self) -> Any:
        return self.runs.work.backend()

    async def _asked(self, request: Request) -> wire.Asked:
        blob = await self._body(request, wire.MOST_BYTES)

        def read() -> wire.Asked:
            try:
                asked = wire.asked_from_bytes(blob)
            except DiffAtlasError:
                raise
            except ValueError as error:
                raise InvalidParams(str(error)) from error
            self.check(asked)
            return asked

        return await run_in_threadpool(read)

    async def _body(self, request: Request, most: int) -> bytes:
        """Return the body of a request. Raises `OverBound` for one that is too large, or comes too slowly."""
        too_large = OverBound(f"A request to this Atlas has at most {most} bytes.")
        announced = request.headers.get("content-length", "0")
        if not announced.isdigit() or int(announced) > most:
            raise too_large
        async with self._bodies:
            parts, size = [], 0
            stream = request.stream().__aiter__()
            while True:
                try:
                    part = await asyncio.wait_for(anext(stream), self.limits.body)
                except StopAsyncIteration:
                    return b"".join(parts)
                except TimeoutError:
                    raise OverBound("The request did not arrive in time.") from None
                size += len(part)
                if size > most:
                    raise too_large
                parts.append(part)


def client_of(request: Request) -> str:
    """Return who asks, as the turns go round: by the word that it calls itself, else by its address."""
    word = request.headers.get(CLIENT_HEADER, "")
    return word if _CLIENT.fullmatch(word) else f"at {request.client.host if request.client else 'nowhere'}"


def _plain(body: bytes) -> Mapping[str, Any]:
    found = read_json(body)
    if not isinstance(found, dict):
        raise InvalidParams("What is asked is no JSON object.")
    return found


def refusal(error: DiffAtlasError) -> Response:
    """Return the answer that carries an error."""
    status = next((status for cls, status in STATUS if isinstance(error, cls)), 422)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse(error_to_plain(error), status, headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, DiffAtlasError)
    return refusal(error)


async def _no_path(request: Request, error: Exception) -> Response:
    plain = error_to_plain(InvalidParams("This Atlas has no such path."))
    return JSONResponse(plain, getattr(error, "status_code", 404))
