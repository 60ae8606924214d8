"""The app's own modules, styles and fonts, and plotly.js: answered from memory, at addresses that a browser may keep.

The address has a digest of all of them in it, so that another version of the app has other addresses.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from diffatlas.figures.plotly_script import plotly_script, plotly_version
from diffatlas.formats.html.bundle import STATIC
from diffatlas.ui.script import one_script

#: What is before the digest in an address, relative to the page.
PREFIX = "atlas"
#: The modules of the pages' views, and the script in which they are answered with all that they import.
VIEWS = (
    "trajectory/viewer.js",
    "study/study.js",
    "attention/attention.js",
    "bench/bench.js",
    "lab/lab.js",
    "library/library.js",
    "settings/settings.js",
    "settings/status.js",
)
SCRIPT = "views.js"
#: What draws the figures: that of the installed plotly, so that both are of one version.
PLOTLY = "plotly.min.js"
#: Said here, because what a machine calls a kind differs, and a browser runs no script that is called a text.
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
#: What compressing makes no smaller.
_PACKED = (".woff2", ".png", ".jpg")
_YEAR = 365 * 86400
_FOREVER = f"public, max-age={_YEAR}, immutable".encode()


@cache
def base() -> str:
    """Return the address of the folder of these files, relative to the page, without a slash at its end."""
    digest = hashlib.sha256()
    for name, data in sorted(_files().items()):
        digest.update(f"{name}\0{len(data)}\0".encode())
        digest.update(data)
    digest.update(plotly_version().encode())
    return f"{PREFIX}/{digest.hexdigest()[:16]}"


def script() -> str:
    """Return the address of the script that has the modules of all views, relative to the page."""
    return f"{base()}/{SCRIPT}"


class OwnFiles:
    """ASGI middleware: answers for the files of ``static/``."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer, or pass the request on."""
        name = _asked(scope)
        if name is None:
            await self._app(scope, receive, send)
            return
        packed = "gzip" in dict(scope["headers"]).get(b"accept-encoding", b"").decode("latin-1")
        body, headers = _answer(name, packed)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _asked(scope: dict[str, Any]) -> str | None:
    """Return the name of the file that a request is for; None for any other request."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
        return None
    _, found, name = scope["path"].partition(f"/{base()}/")
    return name if found and (name in _files() or name == PLOTLY) else None


@cache
def _files() -> dict[str, bytes]:
    files = {
        path.relative_to(STATIC).as_posix(): path.read_bytes() for path in STATIC.rglob("*") if path.is_file()
    }
    return {**files, SCRIPT: one_script(VIEWS, lambda name: files[name].decode()).encode()}


@cache
def _answer(name: str, packed: bool) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    body = plotly_script() if name == PLOTLY else _files()[name]
    kind = _KINDS.get(PurePosixPath(name).suffix, "application/octet-stream")
    headers = [(b"content-type", kind.encode()), (b"cache-control", _FOREVER), (b"vary", b"accept-encoding")]
    if packed and not name.endswith(_PACKED):
        body = gzip.compress(body, mtime=0)
        headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", str(len(body)).encode()))
    return body, headers
