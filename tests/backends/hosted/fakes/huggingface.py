"""Hugging Face on loopback: its Hub, its router, and the providers behind it."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

from tests.backends.hosted.fakes.server import KEY, FakeProvider, Reply, Seen

#: Of a model of the Hub: who runs it, and under which name.
ROUTES = {
    "fal-ai": "fal-ai/flux/dev",
    "replicate": "black-forest-labs/flux-dev",
    "together": "black-forest-labs/FLUX.1-dev",
    "nscale": "black-forest-labs/FLUX.1-dev",
    "wavespeed": "wavespeed-ai/flux-dev",
    "zai-org": "flux-dev",
    "hf-inference": "black-forest-labs/FLUX.1-dev",
}


class FakeHuggingFace(FakeProvider):
    name = "huggingface"
    model = "black-forest-labs/FLUX.1-dev:fal-ai"
    key = f"hf_{KEY}"

    def __init__(self) -> None:
        super().__init__()
        #: What the Hub answers of every model.
        self.mapping: Any = {
            name: {"status": "live", "providerId": theirs, "task": "text-to-image"}
            for name, theirs in ROUTES.items()
        }
        self._looks = 0

    def creates(self, seen: Seen) -> bool:
        return seen.method == "POST"

    def refusal(self, status: int) -> Any:
        return {"error": f"The reason of Hugging Face for {status}."}

    def refused_content(self) -> Reply | None:
        message = "The content could not be processed because it was flagged by a content checker."
        detail = [{"loc": ["body", "prompt"], "msg": message, "type": "content_policy_violation"}]
        return Reply({"detail": detail}, 422)

    def reply(self, seen: Seen) -> Reply | None:
        if seen.path == "/api/whoami-v2":
            return Reply({"type": "user", "name": "somebody"})
        if seen.path.startswith("/api/models/"):
            name = seen.path.removeprefix("/api/models/").partition("?")[0]
            told = {"id": name, "pipeline_tag": "text-to-image", "inferenceProviderMapping": self.mapping}
            return Reply(told)
        if found := re.fullmatch(r"/files/(\d+)\.png(\?moved)?", seen.path):
            return self.picture_reply(seen, int(found[1]))
        answer = getattr(self, f"_{seen.path.split('/')[1].replace('-', '_')}", None)
        return answer(seen) if answer is not None else None

    def _address(self, seed: int) -> str:
        return f"{self.url}/files/{seed}.png"

    def _fal_ai(self, seen: Seen) -> Reply:
        time.sleep(self.delay)
        seed = seen.json().get("seed", 0)
        return Reply(
            {
                "images": [{"url": self._address(seed), "content_type": "image/png"}],
                "seed": seed,
                "timings": {"inference": 0.7},
                "has_nsfw_concepts": [self.fault == "withheld"],
            },
            headers={"X-Fal-Request-Id": "fal-1"},
        )

    def _hf_inference(self, seen: Seen) -> Reply:
        seed = seen.json()["parameters"].get("seed", 0)
        headers = {"X-Request-Id": "hf-1", "X-Compute-Time": "1.5"}
        return Reply(self.picture(seed), headers=headers, kind="image/png")

    def _together(self, seen: Seen) -> Reply:
        picture = base64.b64encode(self.picture(seen.json().get("seed", 0))).decode()
        return Reply({"id": "img-1", "data": [{"index": 0, "b64_json": picture, "type": "b64_json"}]})

    _nscale = _together

    def _replicate(self, seen: Seen) -> Reply:
        seed = seen.json()["input"].get("seed", 0)
        done = not self.failing("not in time")
        output = [self._address(seed)] if done else None
        status = "succeeded" if done else "processing"
        return Reply({"id": "p1", "status": status, "output": output, "metrics": {"predict_time": 1.2}}, 201)

    def _wavespeed(self, seen: Seen) -> Reply:
        urls = {"get": "https://api.wavespeed.ai/api/v3/predictions/w1/result"}
        if seen.method == "POST":
            return Reply(
                {"code": 200, "data": {"id": "w1", "status": "created", "outputs": [], "urls": urls}}
            )
        self._looks += 1
        done = self._looks > 1
        outputs = [self._address(0)] if done else []
        return Reply(
            {"data": {"id": "w1", "status": "completed" if done else "processing", "outputs": outputs}}
        )

    def _zai_org(self, seen: Seen) -> Reply:
        if seen.method == "POST":
            return Reply({"id": "z1", "task_status": "PROCESSING"})
        return Reply({"id": "z1", "task_status": "SUCCESS", "image_result": [{"url": self._address(0)}]})
