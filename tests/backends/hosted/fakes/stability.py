"""Stability AI on loopback: a form that is answered with the file of the image."""

from __future__ import annotations

import time
from email import message_from_bytes
from typing import Any

from tests.backends.hosted.fakes.server import FakeProvider, Reply, Seen


def fields(seen: Seen) -> dict[str, str]:
    """Return the fields of a form of several parts; none of them may be a file."""
    head = f"Content-Type: {seen.headers['content-type']}\r\n\r\n".encode()
    form = message_from_bytes(head + seen.body)
    assert form.get_content_type() == "multipart/form-data"
    found = {}
    for part in form.get_payload():
        assert part.get_filename() is None
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = part.get_payload(decode=True).decode()
    return found


class FakeStability(FakeProvider):
    name = "stability"
    model = "sd3.5-large"
    inline = True

    def __init__(self) -> None:
        super().__init__()
        #: Headers that are changed in an answer with an image, and its kind.
        self.headers: dict[str, str] = {}
        self.kind = "image/png"

    def creates(self, seen: Seen) -> bool:
        return seen.method == "POST" and seen.path.startswith("/v2beta/stable-image/generate/")

    def refusal(self, status: int) -> Any:
        return {"id": "e1", "name": "refused", "errors": [f"The reason of Stability for {status}."]}

    def refused_content(self) -> Reply | None:
        said = (
            "Your request was flagged by our content moderation system, as a result your request was denied."
        )
        return Reply({"id": "e2", "name": "content_moderation", "errors": [said]}, 403)

    def reply(self, seen: Seen) -> Reply | None:
        if seen.path == "/v1/user/balance":
            return Reply({"credits": 12.5})
        if not self.creates(seen) or seen.path.rpartition("/")[2] not in ("core", "ultra", "sd3"):
            return None
        time.sleep(self.delay)
        seed = fields(seen).get("seed", "0")
        headers = {"finish-reason": "SUCCESS", "seed": seed, "x-request-id": "r-1", **self.headers}
        return Reply(self.picture(int(seed)), headers=headers, kind=self.kind)
