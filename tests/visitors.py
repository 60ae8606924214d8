"""A visitor of a served app over plain HTTP: its events, and the functions of its pages, with one cookie."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
from gradio_client.utils import apply_diff

from diffatlas.ui.visitors import COOKIE


class Visitor:
    """One browser. Each stream is a tab of its own, and what is called is of another."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(
            base_url=address, headers={"cookie": f"{COOKIE}={secrets.token_hex(16)}"}, timeout=120
        )
        self.tab = secrets.token_hex(8)
        self.config = self.http.get("config").json()
        self.events = {d["api_name"]: d["id"] for d in self.config["dependencies"]}
        info = self.http.get("gradio_api/info").json()["named_endpoints"]
        self.defaults = {
            name.lstrip("/"): {p["parameter_name"]: p.get("parameter_default") for p in one["parameters"]}
            for name, one in info.items()
        }

    def raw(self, island: str, name: str, **asked: Any) -> httpx.Response:
        """Call a function of a page's component."""
        component = next(c for c in self.config["components"] if c["props"].get("elem_id") == island)
        body = {"session_hash": self.tab, "component_id": component["id"], "fn_name": name, "data": asked}
        return self.http.post("gradio_api/component_server", json=body)

    def call(self, island: str, name: str, **asked: Any) -> Any:
        """The answer of one."""
        answer = self.raw(island, name, **asked)
        answer.raise_for_status()
        return answer.json()

    def stream(self, name: str, **asked: Any) -> Iterator[dict[str, Any]]:
        """The values of an event, as they come. Closing it closes the connection, as a closed tab does."""
        tab = secrets.token_hex(8)
        data = list({**self.defaults[name], **asked}.values())
        body = {"fn_index": self.events[name], "data": data, "session_hash": tab, "trigger_id": None}
        self.http.post("gradio_api/queue/join", json=body).raise_for_status()
        value: Any = None
        with self.http.stream("GET", "gradio_api/queue/data", params={"session_hash": tab}) as answer:
            for line in answer.iter_lines():
                told = json.loads(line.removeprefix("data:")) if line.startswith("data:") else {}
                if told.get("msg") == "process_generating" and told["output"].get("data"):
                    news = told["output"]["data"][0]
                    value = news if value is None else apply_diff(value, news)
                    yield value
                elif told.get("msg") == "process_completed":
                    if value is None:
                        yield told["output"]["data"][0]
                    return
