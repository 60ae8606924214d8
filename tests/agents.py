"""A real MCP client, for tests of the app as a server of tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from tests.own_thread import in_own_thread

T = TypeVar("T")


def with_agent(address: str, use: Callable[[ClientSession], Awaitable[T]], **headers: str) -> T:
    """Return what ``use(session)`` returns. address: of the app; headers: sent with every request."""

    async def main() -> T:
        async with (
            httpx.AsyncClient(headers=headers, timeout=120) as http,
            streamable_http_client(f"{address.rstrip('/')}/mcp", http_client=http) as (reading, writing, _),
            ClientSession(reading, writing) as session,
        ):
            await session.initialize()
            return await use(session)

    return in_own_thread(anyio.run, main)


def call(address: str, tool: str, headers: dict[str, str] | None = None, **asked: Any) -> Any:
    """Return the answer of one call of a tool."""
    return with_agent(address, lambda session: session.call_tool(tool, asked), **(headers or {}))


def refusal(address: str, tool: str, headers: dict[str, str] | None = None, **asked: Any) -> str:
    """Return the sentence with which a call is refused."""
    answer = call(address, tool, headers, **asked)
    assert answer.isError
    return answer.content[0].text
