"""Fetching pictures over real HTTP on loopback: what is fetched, what is refused, and what is never sent."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from diffatlas.backends.hosted.downloads import download
from diffatlas.errors import BadDownload, NetworkError, ProviderTimeout
from tests.backends.hosted.fakes.server import png


class Site:
    """Serves ``pages``: path -> (status, headers, body, seconds from a piece to the next, bytes until it drops)."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[int, dict[str, str], bytes, float, int | None]] = {}
        self.headers: list[dict[str, str]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.headers.append({k.lower(): v for k, v in self.headers.items()})
                status, headers, body, pause, cut = site.pages[self.path]
                self.send_response(status)
                for name, value in {
                    "Content-Type": "image/png",
                    "Content-Length": str(len(body)),
                    **headers,
                }.items():
                    if value:
                        self.send_header(name, value)
                self.end_headers()
                try:
                    for at in range(0, len(body[:cut]), 2000):
                        self.wfile.write(body[at : min(at + 2000, cut or len(body))])
                        self.wfile.flush()
                        time.sleep(pause)
                except OSError:
                    pass
                self.close_connection = cut is not None

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.url = f"http://127.0.0.1:{self.port}"

    def page(
        self,
        path: str,
        body: bytes = b"",
        status: int = 200,
        pause: float = 0.0,
        cut: int | None = None,
        **headers: str,
    ) -> str:
        self.pages[path] = (status, {k.replace("_", "-"): v for k, v in headers.items()}, body, pause, cut)
        return self.url + path


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site()
    threading.Thread(target=served.server.serve_forever, args=(0.02,), daemon=True).start()
    yield served
    served.server.shutdown()
    served.server.server_close()


def fetch(site: Site, url: str, **options: Any) -> bytes:
    return asyncio.run(download(url, own=[("127.0.0.1", site.port)], **options))


def test_a_picture_is_fetched_without_anything_of_ours(site: Site) -> None:
    assert fetch(site, site.page("/a.png", png())) == png()
    assert set(site.headers[0]) == {"host", "accept", "accept-encoding", "connection", "user-agent"}


def test_a_redirect_is_followed_where_it_may_lead(site: Site) -> None:
    site.page("/b.png", png(2))
    assert fetch(site, site.page("/a.png", status=302, Location="/b.png")) == png(2)
    again = site.page("/round.png", status=302, Location="/round.png")
    with pytest.raises(BadDownload, match="more than 4 times"):
        fetch(site, again)


@pytest.mark.parametrize(
    "where",
    [
        "https://169.254.169.254/latest/meta-data",
        "https://10.0.0.1/a.png",
        "https://[::1]/a.png",
        "https://[::ffff:127.0.0.1]/a.png",
        "https://localhost/a.png",
        "http://127.0.0.1:1/a.png",
        "http://example.com/a.png",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.png",
        "https://name:word@example.com/a.png",
        "//10.0.0.1/a.png",
        "",
    ],
)
def test_what_must_not_be_reached_is_not(site: Site, where: str) -> None:
    with pytest.raises(BadDownload):
        fetch(
            site,
            site.page("/a.png", status=302, Location=where) if where else site.page("/a.png", status=302),
        )
    if where:
        with pytest.raises(BadDownload):
            fetch(site, where)


def test_loopback_is_reached_only_where_it_is_named(site: Site) -> None:
    with pytest.raises(BadDownload):
        asyncio.run(download(site.page("/a.png", png())))
    assert site.headers == []


def test_a_file_that_is_too_large_ends_early(site: Site) -> None:
    with pytest.raises(BadDownload, match="larger"):
        fetch(site, site.page("/a.png", png(side=128)), most_bytes=10_000)
    endless = site.page(
        "/b.png", png(side=128), Content_Length="", Transfer_Encoding="", Connection="close", cut=49_000
    )
    with pytest.raises(BadDownload, match="larger"):
        fetch(site, endless, most_bytes=10_000)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content_Type": "text/html"}, png()),
        ({"Content_Type": "application/octet-stream"}, b"MZ not a picture"),
        ({"Content_Encoding": "gzip"}, png()),
    ],
)
def test_what_is_no_picture_is_not_taken(site: Site, headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(BadDownload):
        fetch(site, site.page("/a.png", body, **headers))


def test_a_picture_that_is_gone_is_told(site: Site) -> None:
    with pytest.raises(BadDownload, match="404"):
        fetch(site, site.page("/a.png", status=404))


def test_a_broken_connection_is_a_network_error(site: Site) -> None:
    with pytest.raises(NetworkError):
        fetch(site, site.page("/a.png", png(), cut=3000))


def test_a_drip_has_an_end(site: Site) -> None:
    with pytest.raises(ProviderTimeout):
        fetch(site, site.page("/a.png", png(side=256), pause=0.1), seconds=0.4)


def test_a_data_url_is_read() -> None:
    kept = base64.b64encode(png()).decode()
    assert asyncio.run(download(f"data:image/png;base64,{kept}")) == png()
    for wrong in ("data:image/png;base64,%%%", "data:image/png;base64", f"data:image/png;base64,{kept}"):
        with pytest.raises(BadDownload):
            asyncio.run(download(wrong, most_bytes=1000))
