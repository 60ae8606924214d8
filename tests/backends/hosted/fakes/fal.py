"""fal on loopback: requests that are queued, looked at, fetched and cancelled, and the list of them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

from tests.backends.hosted.fakes.server import FakeProvider, Reply, Seen


class FakeFal(FakeProvider):
    name = "fal"
    model = "fal-ai/stable-diffusion-v35-large"
    scheme = "Key"

    def __init__(self) -> None:
        super().__init__()
        #: Request id -> what is known of it.
        self.requests: dict[str, dict[str, Any]] = {}
        #: How many requests are before a new one.
        self.before = 1
        #: What is changed in an answer that tells a status, and in one with a result.
        self.status: dict[str, Any] = {}
        self.result: dict[str, Any] = {}

    def creates(self, seen: Seen) -> bool:
        return seen.method == "POST"

    def refusal(self, status: int) -> Any:
        return {"detail": f"The reason of fal for {status}."}

    def refused_content(self) -> Reply | None:
        return None

    def reply(self, seen: Seen) -> Reply | None:
        path = seen.path.partition("?")[0]
        if self.creates(seen):
            return self._create(seen)
        if path == "/v1/models/pricing":
            return Reply({"prices": [{"endpoint_id": "fal-ai/flux/schnell", "unit_price": 0.003}]})
        if path == "/v1/models/requests/by-endpoint":
            return Reply({"items": [one["listed"] for one in self.requests.values()], "has_more": False})
        if found := re.fullmatch(r"/files/(\d+)\.png", path):
            return self.picture_reply(seen, int(found[1]))
        # A request is looked up under owner and name alone.
        found = re.fullmatch(r"/[\w.-]+/[\w.-]+/requests/([\w-]+)(/status|/cancel)?", path)
        request = self.requests.get(found[1]) if found else None
        if found is None or request is None:
            return None
        if found[2] == "/cancel":
            request["cancelled"] = seen.method == "PUT"
            return Reply({"status": "CANCELLATION_REQUESTED"}, 202)
        return self._status(request) if found[2] else self._result(request)

    def _create(self, seen: Seen) -> Reply:
        key = f"019fd000-{len(self.requests) + 1}"
        listed = {
            "request_id": key,
            "endpoint_id": seen.path.strip("/"),
            "sent_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
            "json_input": seen.json(),
        }
        self.requests[key] = {
            "listed": listed,
            "before": self.before,
            "begun": time.monotonic(),
            "cancelled": False,
        }
        # These addresses are not to be used.
        elsewhere = f"https://queue.falrun.com/fal-ai/requests/{key}"
        urls = {"response_url": elsewhere, "status_url": f"{elsewhere}/status", "cancel_url": elsewhere}
        body = {"status": "IN_QUEUE", "request_id": key, "queue_position": self.before, **urls}
        return Reply(body, headers={"X-Fal-Request-Id": key})

    def _status(self, request: dict[str, Any]) -> Reply:
        if request["before"] > 0 or self.failing("stays in the queue"):
            request["before"] -= 1
            return Reply({"status": "IN_QUEUE", "queue_position": request["before"], **self.status}, 202)
        if time.monotonic() - request["begun"] < self.delay:
            return Reply({"status": "IN_PROGRESS", "logs": None, **self.status}, 202)
        return Reply({"status": "COMPLETED", "metrics": {"inference_time": 1.25}, **self.status})

    def _result(self, request: dict[str, Any]) -> Reply:
        if self.failing("refused content"):
            message = "The content could not be processed because it was flagged by a content checker."
            detail = [{"loc": ["body", "prompt"], "msg": message, "type": "content_policy_violation"}]
            return Reply({"detail": detail}, 422)
        seed = request["listed"]["json_input"].get("seed", 0)
        body = {
            "images": [
                {
                    "url": f"{self.url}/files/{seed}.png",
                    "content_type": "image/png",
                    "width": 64,
                    "height": 64,
                }
            ],
            "timings": {"inference": 1.2},
            "seed": seed,
            "has_nsfw_concepts": [False],
            "prompt": request["listed"]["json_input"]["prompt"],
        }
        return Reply({**body, **self.result})
