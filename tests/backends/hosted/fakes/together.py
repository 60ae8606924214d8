"""Together AI on loopback: one request that is answered with the image, in base64."""

from __future__ import annotations

import base64
import time
from typing import Any

from tests.backends.hosted.fakes.server import FakeProvider, Reply, Seen


class FakeTogether(FakeProvider):
    name = "together"
    model = "black-forest-labs/FLUX.2-dev"
    inline = True

    def creates(self, seen: Seen) -> bool:
        return seen.method == "POST" and seen.path == "/v1/images/generations"

    def refusal(self, status: int) -> Any:
        return {
            "error": {"message": f"The reason of Together for {status}.", "type": "of_a_kind", "code": None}
        }

    def refused_content(self) -> Reply | None:
        said = "Input prompt flagged by the safety checker: it may contain NSFW content."
        return Reply({"error": {"message": said, "type": "invalid_request_error", "param": "prompt"}}, 422)

    def reply(self, seen: Seen) -> Reply | None:
        if self.creates(seen):
            time.sleep(self.delay)
            asked = seen.json()
            picture = base64.b64encode(self.picture(asked.get("seed", 0))).decode()
            data = {"index": 0, "b64_json": picture, "type": "b64_json", "timings": {"inference": 0.8}}
            return Reply({"id": "img-1", "model": asked["model"], "object": "list", "data": [data]})
        if seen.path == "/v1/models":
            return Reply([{"id": "black-forest-labs/FLUX.2-dev", "type": "image"}])
        return None
