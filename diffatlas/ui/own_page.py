"""What a browser may do with the app's answers: show and run what comes from the app itself, and ask nobody else."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from typing import Any

#: Who may show the page in a frame: the Hub, where a Space is a frame of huggingface.co; notebooks, which `show` frames
#: the page in: Jupyter at any port of this machine, VS Code's views, Colab's cells and Kaggle's. Elsewhere an unseen
#: frame could have a visitor press what they do not see.
FRAMED_BY = (
    "'self'",
    "https://huggingface.co",
    "https://*.huggingface.co",
    "https://*.hf.space",
    "http://localhost:*",
    "https://localhost:*",
    "http://127.0.0.1:*",
    "https://127.0.0.1:*",
    "vscode-webview:",
    "vscode-file:",
    "https://colab.research.google.com",
    "https://*.googleusercontent.com",
    "https://www.kaggle.com",
    "https://*.kaggle.net",
    "https://*.kaggleusercontent.com",
)
_INLINE = re.compile(rb"<script(?P<attributes>[^>]*)>(?P<text>.*?)</script", re.DOTALL | re.IGNORECASE)
_SRC = re.compile(rb"(^|\s)src\s*=", re.IGNORECASE)


def policy(scripts: Sequence[bytes] = ()) -> str:
    """Return the Content-Security-Policy of an answer.

    Gradio makes functions of the text of its events' ``js`` and of an element's ``js_on_load``: hence 'unsafe-eval'.
    Scripts in the page run only where they are among ``scripts``, and handlers in attributes never do. Styles may be
    anywhere: Gradio and the drawings set them on elements. Pictures and downloads are made in the page (data:, blob:).

    scripts: the texts of the page's own scripts, as they stand in it.
    """
    own = " ".join(dict.fromkeys(f"'sha256-{_digest(script)}'" for script in scripts))
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' 'unsafe-eval' {own}".rstrip(),
            "script-src-attr 'none'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "frame-src 'none'",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            f"frame-ancestors {' '.join(FRAMED_BY)}",
        )
    )


class OwnPageOnly:
    """ASGI middleware: every answer says what a browser may do with it.

    A page of HTML is held back until it is whole, because its policy names the scripts that it has. That of a file may
    be anybody's, so none of its scripts run.
    """

    def __init__(self, app: Any, scripts: Sequence[str] = ()) -> None:
        """scripts: the texts of those that the page puts into itself later."""
        self._app = app
        self._scripts = tuple(script.encode() for script in scripts)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Pass the request on, and the answer back with more headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start: dict[str, Any] | None = None
        body = b""

        async def guarded(message: dict[str, Any]) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_page(message) and not _is_file(scope["path"]):
                start = message
            elif message["type"] == "http.response.start":
                await send(_with_policy(message, policy()))
            elif start is not None and message["type"] == "http.response.body":
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await send(_with_policy(start, policy((*inline_scripts(body), *self._scripts))))
                    await send({**message, "body": body})
            else:
                await send(message)

        await self._app(scope, receive, guarded)


def inline_scripts(page: bytes) -> list[bytes]:
    """Return the texts of the scripts that stand in a page."""
    return [found["text"] for found in _INLINE.finditer(page) if not _SRC.search(found["attributes"])]


def _digest(script: bytes) -> str:
    return base64.b64encode(hashlib.sha256(script).digest()).decode()


def _is_page(message: dict[str, Any]) -> bool:
    kind = dict(message.get("headers", ())).get(b"content-type", b"")
    return kind.lower().startswith(b"text/html")


def _is_file(path: str) -> bool:
    return "file=" in path or "/file/" in path


def _with_policy(message: dict[str, Any], wanted: str) -> dict[str, Any]:
    added = [
        (b"content-security-policy", wanted.encode()),
        # A file is what the server says it is: an uploaded text is never run as a script.
        (b"x-content-type-options", b"nosniff"),
        # Links name prompts and runs: whose they are is nobody else's business.
        (b"referrer-policy", b"same-origin"),
    ]
    names = {name for name, _ in added}
    kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in names]
    return {**message, "headers": [*kept, *added]}
