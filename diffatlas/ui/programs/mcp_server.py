"""The app as an MCP server: agents list its tools and call them, over streamable HTTP at ``/mcp``.

Each request stands alone: there are no sessions, so nothing is kept of a caller but their library. A tool that runs
something tells how far it has come, and ends when its caller hangs up. Needs the package ``mcp`` (the extra "mcp").
"""

from __future__ import annotations

import base64
import json
import logging
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from diffatlas.errors import CapabilityError, DiffAtlasError
from diffatlas.stopping import Stopped
from diffatlas.ui.answers import STOPPED
from diffatlas.ui.plain_requests import Refused, again, answer, asked_of, body_of
from diffatlas.ui.programs.callers import Caller, caller_of
from diffatlas.ui.programs.endpoints import root_of
from diffatlas.ui.programs.pictures import picture_of
from diffatlas.ui.programs.running import Going, Progress
from diffatlas.ui.programs.signed_in import signed_in
from diffatlas.ui.programs.tools import Tool, tools_of
from diffatlas.ui.wiring import MAX_WAITING

log = logging.getLogger("diffatlas")

#: Where it is, below the address of the app.
PATH = "/mcp"
NOT_INSTALLED = (
    'An app with tools for agents needs the package mcp: pip install "diffatlas[mcp]", and start it again.'
)
ABOUT = (
    "Diffusion Atlas runs diffusion models and records how they make an image: the path through latent space, what "
    "each word of the prompt looks at, what settings change, and how often an image shows what was asked. Tools "
    "return JSON; runs are kept in a library and named by their ids. Links open in a browser."
)
#: Seconds between two words of progress.
TELL_SECONDS = 0.5
FAILED = "The app could not do this; its log says why."
FOR_AGENTS = (
    "This address is for agents that speak the Model Context Protocol: they send their questions with POST."
)
FROM_A_PAGE = (
    "This address is for agents, not for web pages: a request that names the page it comes from is refused."
)
SIGN_IN = "Sign in: send the name and password of this app as basic authorization with every call."


def check_installed() -> None:
    """Raise `CapabilityError` where the package ``mcp`` is not there."""
    try:
        import mcp.server.streamable_http  # noqa: F401
    except ImportError as error:
        raise CapabilityError(NOT_INSTALLED) from error


class McpServer:
    """ASGI middleware: answers agents at ``/mcp``, and passes every other request on."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._server: Any = None
        self._limiter = anyio.CapacityLimiter(MAX_WAITING)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer, or pass the request on."""
        if (
            scope["type"] != "http"
            or scope["path"].rstrip("/") != scope.get("root_path", "").rstrip("/") + PATH
        ):
            await self._app(scope, receive, send)
            return
        try:
            # Only a browser names a page: no page of any address may have the visitor's agent tools work for it.
            if any(name == b"origin" for name, _ in scope["headers"]):
                raise Refused(403, FROM_A_PAGE)
            if scope["method"] != "POST":
                raise Refused(405, FOR_AGENTS)
            if not await signed_in(scope):
                raise Refused(401, SIGN_IN)
            asked = asked_of(await body_of(receive))
        except Refused as refusal:
            await answer(send, refusal)
            return
        await self._answer(scope, again(json.dumps(asked).encode(), receive), send)

    async def _answer(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Let the package take one request apart and answer it; all that it began ends with it."""
        from mcp.server.streamable_http import StreamableHTTPServerTransport

        if self._server is None:
            self._server = self._made(scope["app"].get_blocks().programs)
        server, transport = self._server, StreamableHTTPServerTransport(mcp_session_id=None)
        async with anyio.create_task_group() as group, transport.connect() as (reading, writing):
            options = server.create_initialization_options()
            group.start_soon(partial(server.run, reading, writing, options, stateless=True))
            try:
                await transport.handle_request(scope, receive, send)
            finally:
                group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await transport.terminate()

    def _made(self, runs: Any) -> Any:
        """Return the server of the package, which knows the tools."""
        from mcp import types
        from mcp.server.lowlevel import Server

        from diffatlas import __version__

        tools = tools_of(runs)
        server: Any = Server("Diffusion Atlas", version=__version__, instructions=ABOUT)

        @server.list_tools()
        async def listed() -> list[Any]:
            return [
                types.Tool(
                    name=tool.name,
                    description=tool.about,
                    inputSchema=tool.schema,
                    annotations=types.ToolAnnotations(
                        readOnlyHint=not tool.runs, destructiveHint=False, openWorldHint=False
                    ),
                )
                for tool in tools.values()
            ]

        # What is wrong with an argument is said in words of ours.
        @server.call_tool(validate_input=False)
        async def called(name: str, arguments: dict[str, Any]) -> Any:
            try:
                told, caller = await self._call(server.request_context, runs, tools, name, arguments)
                content = [types.TextContent(type="text", text=json.dumps(told, ensure_ascii=False))]
                if picture := await self._in_thread(partial(picture_of, runs.kept, caller, told)):
                    data = base64.b64encode(picture).decode()
                    content.append(types.ImageContent(type="image", data=data, mimeType="image/png"))
                return types.CallToolResult(content=content, structuredContent=told)
            except Exception as error:
                words = [types.TextContent(type="text", text=_sentence(error))]
                return types.CallToolResult(content=words, isError=True)

        return server

    async def _call(
        self, context: Any, runs: Any, tools: dict[str, Tool], name: str, arguments: dict[str, Any]
    ) -> tuple[dict[str, Any], Caller]:
        tool = tools.get(name)
        if tool is None:
            raise CapabilityError(f"There is no tool {name!r:.60}: there are {', '.join(tools)}.")
        asked = tool.check(arguments)
        root = root_of(context.request, PATH)
        caller = Caller("", root) if tool.for_all else caller_of(context.request, root)
        if not tool.runs:
            return await self._in_thread(partial(tool.call, caller, **asked)), caller
        return await self._drained(context, runs, caller, tool.call(caller, **asked)), caller

    async def _drained(self, context: Any, runs: Any, caller: Caller, going: Going) -> dict[str, Any]:
        """Run something to its end in a thread, and tell the caller how far it has come where they want to know.

        Where the caller hangs up meanwhile, it is told to stop.
        """
        token = context.meta.progressToken if context.meta else None
        latest: list[Progress] = []
        told: list[Progress] = []

        async def tell() -> None:
            if token is not None and latest != told:
                now = latest[0]
                await context.session.send_progress_notification(
                    token, now.done, now.total, now.message, related_request_id=str(context.request_id)
                )
                # Only now: where the run ends meanwhile, the word is broken off, and is said again.
                told[:] = [now]

        async def keep_telling() -> None:
            while True:
                await tell()
                await anyio.sleep(TELL_SECONDS)

        try:
            async with anyio.create_task_group() as group:
                group.start_soon(keep_telling)
                came = await anyio.to_thread.run_sync(
                    partial(_drain, going, latest), limiter=self._limiter, abandon_on_cancel=True
                )
                group.cancel_scope.cancel()
        finally:
            runs.stop(caller)
        await tell()
        if isinstance(came, Exception):
            raise came
        return came

    async def _in_thread(self, function: Any) -> Any:
        """Call a function in a thread of those that are for agents."""
        return await anyio.to_thread.run_sync(function, limiter=self._limiter)


def _drain(going: Going, latest: list[Progress]) -> dict[str, Any] | Exception:
    """Return what a generator returns at its end, or what it raises; ``latest`` holds how far it has come."""
    furthest = 0.0
    with closing(going):
        try:
            while True:
                now = next(going)
                # Only ever grows, though a cell may begin anew.
                furthest = max(furthest, now.done)
                latest[:] = [replace(now, done=furthest)]
        except StopIteration as end:
            return end.value
        except Exception as error:
            return error


def _sentence(error: Exception) -> str:
    """Return what went wrong in one sentence."""
    if isinstance(error, DiffAtlasError):
        return error.message
    if isinstance(error, Stopped):
        return STOPPED
    log.error("A tool failed.", exc_info=error)
    return FAILED
