"""What docs/agents.md shows works against a served app."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.agents import with_agent
from tests.own_thread import in_own_thread

PAGE = (Path(__file__).parents[3] / "docs" / "agents.md").read_text()


@pytest.fixture
def page(address):
    return PAGE.replace("http://127.0.0.1:7860", address.rstrip("/"))


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)


def test_the_python_examples_run(page, capsys):
    found = blocks(page, "python")
    assert len(found) == 3
    for block in found:
        in_own_thread(exec, compile(block, "docs/agents.md", "exec"), {"__name__": "example"})
    assert ".gif" in capsys.readouterr().out


def test_the_address_of_the_configuration_is_that_of_the_server(page):
    (told,) = (json.loads(block) for block in blocks(page, "json"))
    address = told["mcpServers"]["diffusion-atlas"]["url"].removesuffix("/mcp")
    assert with_agent(address, lambda session: session.list_tools()).tools


def test_the_tables_name_all_endpoints_and_tools(page):
    import httpx

    address = re.search(r'Client\("(.*?)"', page)[1]
    named = set(re.findall(r"`/(\w+)`", page)) - {"mcp"}
    info = httpx.get(f"{address}/gradio_api/info").json()["named_endpoints"]
    assert named == {name.lstrip("/") for name in info}
    tools = {tool.name for tool in with_agent(address, lambda session: session.list_tools()).tools}
    rows = "".join(line for line in page.splitlines() if line.startswith("| `"))
    assert tools <= set(re.findall(r"`(\w+)`", rows))
