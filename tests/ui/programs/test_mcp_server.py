"""The app as a server of tools, in a process of its own, asked by a real MCP client."""

from __future__ import annotations

import base64
import io
import json
import secrets
import time

import httpx
import jsonschema
import numpy as np
import pytest
from PIL import Image

from diffatlas.errors import CapabilityError
from diffatlas.ui.visitors import COOKIE
from tests.agents import call, refusal, with_agent
from tests.serving import served_app

POST = {"accept": "application/json, text/event-stream", "content-type": "application/json"}


@pytest.fixture(scope="module")
def traced(address):
    return call(address, "trace", prompt="a red circle", steps=5, seed=3, attention="cross")


def as_visitor() -> dict[str, str]:
    return {"cookie": f"{COOKIE}={secrets.token_hex(16)}"}


def test_every_tool_and_argument_is_described(address):
    tools = with_agent(address, lambda session: session.list_tools()).tools
    names = {tool.name for tool in tools}
    assert names == {
        "trace", "sweep", "neighbourhood", "bench", "search", "run", "run_link", "attention", "models",
    }  # fmt: skip
    for tool in tools:
        jsonschema.Draft202012Validator.check_schema(tool.inputSchema)
        assert len(tool.description) > 40
        for name, schema in tool.inputSchema["properties"].items():
            assert schema["description"], f"{tool.name} does not say what {name} is"
            if "default" in schema:
                jsonschema.validate(schema["default"], schema)


def test_a_run_is_told_as_json_with_links_and_its_image(address, traced):
    told = json.loads(traced.content[0].text)
    assert told == traced.structuredContent
    assert (told["status"], told["steps_done"], told["asked"]["seed"]) == ("complete", 5, "3")
    image = httpx.get(told["image"])
    assert image.headers["content-type"] == "image/png"
    shown = Image.open(io.BytesIO(base64.b64decode(traced.content[1].data)))
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(image.content))))
    assert httpx.get(told["app"]).status_code == 200


def test_what_is_kept_is_found_and_read(address, traced):
    run_id = traced.structuredContent["id"]

    async def use(session):
        async def ask(name, **asked):
            answer = await session.call_tool(name, asked)
            assert not answer.isError, answer.content[0].text
            return answer.structuredContent

        found = await ask("search", text="red circle", attention="cross")
        assert run_id in [one["id"] for one in found["runs"]]
        steps = (await ask("run", run_id=run_id, steps=True))["steps"]
        assert [step["step"] for step in steps] == [0, 1, 2, 3, 4, 5]
        assert steps[-1]["distance_to_end"] == 0
        words = await ask("attention", run_id=run_id)
        assert [word["word"] for word in words["words"]] == ["a", "red", "circle"]
        only = await ask("attention", run_id=run_id, word="red")
        assert only["words"] == words["words"][1:2]
        assert len(only["words"][0]["activation"]) == len(words["steps"]) == 5
        film = await ask("run_link", run_id=run_id, kind="gif")
        assert httpx.get(film["url"]).content[:6] == b"GIF89a"
        again = await ask("trace", prompt="a red circle", steps=5, seed=3, attention="cross")
        assert (again["id"], again["cached"]) == (run_id, True)

    with_agent(address, use)


def test_studies_and_a_bench_are_run_to_their_ends(address):
    async def use(session):
        told = []

        async def progress(done, total, message):
            told.append((done, total, message))

        asked = {"prompt": "a blue square", "field": "guidance_scale", "values": "1, 5", "steps": 3}
        swept = await session.call_tool("sweep", asked, progress_callback=progress)
        cells = swept.structuredContent["cells"]
        assert [cell["column"] for cell in cells] == ["g 1", "g 5"]
        assert all(httpx.get(cell["image"]).status_code == 200 for cell in cells)
        sheet = Image.open(io.BytesIO(base64.b64decode(swept.content[1].data)))
        assert sheet.size == (256, 128)
        assert told
        assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
        near = await session.call_tool("neighbourhood", {"prompt": "a blue square", "k": 1, "steps": 3})
        assert [cell["status"] for cell in near.structuredContent["cells"]] == ["complete"] * 2
        asked = {"pack": "shapes", "each": 1, "seeds": 1, "steps": 2}
        bench = (await session.call_tool("bench", asked)).structuredContent
        assert bench["status"] == "complete"
        (lane,) = bench["results"]
        low, high = lane["interval"]
        assert low <= lane["correct"] <= high
        assert lane["images"] == sum(line["images"] for line in lane["by_category"]) == len(bench["cells"])

    with_agent(address, use)


def test_what_is_wrong_is_one_sentence(address):
    assert (
        refusal(address, "trace", prompt="x", steps=0) == "steps is 0: give a whole number from 1 to 1,000."
    )
    assert refusal(address, "trace", steps=5) == "prompt is missing: give text."
    assert "takes no stepps: give prompt, " in refusal(address, "trace", prompt="x", stepps=5)
    twice = refusal(address, "sweep", prompt="x", field="seed", values="1, 1")
    assert twice == "The value 1 is given twice: give each one once."
    assert "flow_euler" in refusal(address, "trace", prompt="x", scheduler="flow_euler")
    assert refusal(address, "run_link", run_id="x", kind="../secret").startswith(
        "kind is ../secret: give 'image', "
    )
    assert "The library has no run" in refusal(address, "run", run_id="../../../etc/passwd")
    assert "There is no tool 'launch'" in refusal(address, "launch")


def test_hostile_requests_are_answered_and_do_no_harm(address, traced):
    url = f"{address}mcp"
    asked = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert httpx.post(url, json=asked, headers=POST).status_code == 200
    # A page of another site, also one whose name leads here, is told nothing.
    for origin in ("http://evil.example", address.rstrip("/"), "null"):
        assert httpx.post(url, json=asked, headers=POST | {"origin": origin}).status_code == 403
    assert httpx.get(url).status_code == httpx.delete(url).status_code == 405
    for body in (b"", b"{", b"[" * 100_000, b"[1]", b'{"jsonrpc": NaN}', b"\xff\xfe"):
        assert httpx.post(url, content=body, headers=POST).status_code in (400, 422)
    long = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {}}}
    for value in (
        "x" * 100_000,
        "\ud800",
        {"a": []},
        [[]],
        10**30,
        "' OR 1=1 --",
        "<script>alert(1)</script>",
    ):
        long["params"]["arguments"] = {"text": value}
        answer = httpx.post(url, content=json.dumps(long), headers=POST)
        assert answer.status_code in (200, 422)
        assert "Traceback" not in answer.text
    assert call(address, "search", text="red").structuredContent["total"] >= 1
    # Gradio's own server of tools is not there.
    assert httpx.post(f"{address}gradio_api/mcp/", json=asked, headers=POST).status_code in (404, 405)


def test_a_run_ends_when_its_agent_hangs_up(address):
    asked = {"name": "trace", "arguments": {"prompt": "a green ring", "steps": 900}}
    params = asked | {"_meta": {"progressToken": "here"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    with httpx.stream("POST", f"{address}mcp", json=body, headers=POST, timeout=60) as answer:
        next(line for line in answer.iter_lines() if '"total":900' in line)
    for _ in range(100):
        found = call(address, "search", text="green ring").structuredContent["runs"]
        if found[0]["status"] == "stopped":
            break
        time.sleep(0.1)
    assert found[0]["status"] == "stopped"
    assert 0 < found[0]["steps"] < 900


def test_on_a_shared_server_each_agent_has_a_library_and_says_whose(tmp_path):
    with served_app(tmp_path, DIFFATLAS_MCP="1", DIFFATLAS_MODE="shared") as url:
        assert "send them with every call as the header Cookie" in refusal(url, "search")
        assert call(url, "models").structuredContent["models"][0]["id"] == "shapes"
        one, other = as_visitor(), as_visitor()
        run = call(url, "trace", one, prompt="a red circle", steps=3).structuredContent
        assert call(url, "search", one).structuredContent["total"] == 1
        assert call(url, "search", other).structuredContent["total"] == 0
        assert "has no run" in refusal(url, "run", other, run_id=run["id"])
        assert httpx.get(run["image"], headers=one).status_code == 200
        assert httpx.get(run["image"], headers=other).status_code == 404
        assert httpx.get(run["image"]).status_code == 404
        assert "cannot have a model of their own" in refusal(
            url, "trace", one, prompt="x", model="some/model"
        )


def test_without_the_package_a_sentence_says_what_to_install(monkeypatch):
    import sys

    from diffatlas.cli import run
    from diffatlas.ui.app import served

    for name in [name for name in sys.modules if name.partition(".")[0] == "mcp"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(CapabilityError, match=r'pip install "diffatlas\[mcp\]"'):
        served(mcp=True)
    assert run(["app", "--mcp", "--no-browser"]) == 2
