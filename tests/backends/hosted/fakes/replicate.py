"""Replicate on loopback: predictions that are created, polled and cancelled."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

from tests.backends.hosted.fakes.server import FakeProvider, Reply, Seen


class FakeReplicate(FakeProvider):
    name = "replicate"
    model = "black-forest-labs/flux-dev"

    def __init__(self) -> None:
        super().__init__()
        self.predictions: dict[str, dict[str, Any]] = {}
        self._begun: dict[str, float] = {}

    def creates(self, seen: Seen) -> bool:
        return seen.method == "POST" and seen.path.endswith("/predictions")

    def refusal(self, status: int) -> Any:
        return {
            "title": f"Refused with {status}",
            "detail": f"The reason of Replicate for {status}.",
            "status": status,
        }

    def refused_content(self) -> Reply | None:
        return None

    def reply(self, seen: Seen) -> Reply | None:
        if self.creates(seen):
            # Only official models run without a version.
            known = seen.path == "/v1/predictions" or "/black-forest-labs/" in seen.path
            return Reply(self._create(seen), 201) if known else None
        if seen.path == "/v1/models/somebody/trained":
            return Reply({"owner": "somebody", "name": "trained", "latest_version": {"id": "f" * 64}})
        if seen.path == "/v1/account":
            return Reply({"type": "user", "username": "somebody"})
        if seen.path == "/v1/predictions":
            return Reply({"results": list(self.predictions.values())[::-1]})
        if found := re.fullmatch(r"/v1/predictions/(\w+)(/cancel)?", seen.path):
            prediction = self.predictions.get(found[1])
            if prediction is None:
                return None
            if found[2]:
                prediction["status"] = "canceled"
            return Reply(self._go_on(prediction))
        if found := re.fullmatch(r"/files/(\w+)\.png(\?moved)?", seen.path):
            return self.picture_reply(seen, self.predictions[found[1]]["input"].get("seed", 0))
        return None

    def _create(self, seen: Seen) -> dict[str, Any]:
        key = f"p{len(self.predictions) + 1}"
        model = re.fullmatch(r"/v1/models/([\w./-]+)/predictions", seen.path)
        self._begun[key] = time.monotonic()
        self.predictions[key] = {
            "id": key,
            "model": model[1] if model else "owner/name",
            "version": "hidden" if model else seen.json()["version"],
            "input": seen.json()["input"],
            "logs": "",
            "output": None,
            "error": None,
            "status": "starting",
            "created_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        }
        return self.predictions[key]

    def _go_on(self, prediction: dict[str, Any]) -> dict[str, Any]:
        if prediction["status"] == "starting" and not self.failing("stays in the queue"):
            prediction["status"] = "processing"
        if prediction["status"] == "processing":
            if self.failing("refused content"):
                prediction |= {"status": "failed", "error": "NSFW content detected. Try running it again."}
            elif time.monotonic() - self._begun[prediction["id"]] >= self.delay:
                seed = prediction["input"].get("seed", 0)
                prediction |= {
                    "status": "succeeded",
                    "output": [f"{self.url}/files/{prediction['id']}.png"],
                    "logs": f"Using seed: {seed}\n100%|####| 28/28",
                    "metrics": {"predict_time": 1.25},
                }
        return prediction
