"""Fetching pictures over real HTTP on loopback: what is fetched, what is refused, and what is never sent."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpcore
import pytest

from diffatlas.backends.hosted import downloads
from diffatlas.backends.hosted.downloads import download
from diffatlas.errors import BadDownload, NetworkError, ProviderTimeout
from tests.apart import run_apart
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
                with suppress(OSError):
                    for at in range(0, len(body[:cut]), 2000):
                        self.wfile.write(body[at : min(at + 2000, cut or len(body))])
                        self.wfile.flush()
                        time.sleep(pause)
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
    return run_apart(download(url, own=[("127.0.0.1", site.port)], **options))


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
        "https://127.0.0.1:1/a.png",
        "https://[64:ff9b::a00:1]/a.png",
        "https://[::1/a.png",
        "https://a b.example/a.png",
        "https://é..example/a.png",
        "https://example.com:port/a.png",
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
        run_apart(download(site.page("/a.png", png())))
    assert site.headers == []


def test_a_file_that_is_too_large_ends_early(site: Site) -> None:
    with pytest.raises(BadDownload, match="larger"):
        fetch(site, site.page("/a.png", png(side=128)), most_bytes=10_000)
    endless = site.page(
        "/b.png", png(side=128), Content_Length="", Transfer_Encoding="", Connection="close", cut=49_000
    )
    with pytest.raises(BadDownload, match="larger"):
        fetch(site, endless, most_bytes=10_000)
    chunk = b"7d0\r\n" + bytes(2000) + b"\r\n"
    chunks = site.page("/c.png", chunk * 50, Content_Length="", Transfer_Encoding="chunked")
    with pytest.raises(BadDownload, match="larger"):
        fetch(site, chunks, most_bytes=10_000)


def test_a_picture_in_pieces_is_put_together(site: Site) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (png()[:50], png()[50:])) + b"0\r\n\r\n"
    pieces = {"Content_Length": "", "Transfer_Encoding": "chunked"}
    assert fetch(site, site.page("/a.png", body, **pieces)) == png()
    with pytest.raises(NetworkError):
        fetch(site, site.page("/a.png", body[:-5], cut=len(body) - 5, **pieces))


def test_a_picture_without_its_kind_is_known_by_its_content(site: Site) -> None:
    for kind in ("application/octet-stream", ""):
        assert fetch(site, site.page("/a.png", png(), Content_Type=kind)) == png()


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"Content_Type": "text/html"}, png()),
        ({"Content_Type": "application/octet-stream"}, b"MZ not a picture"),
        ({"Content_Type": ""}, b"<html>"),
        ({"Content_Encoding": "gzip"}, gzip.compress(bytes(50_000_000))),
        ({"Content_Encoding": "Deflate"}, png()),
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


def test_a_fetch_that_nobody_wants_ends_at_once(site: Site) -> None:
    url = site.page("/a.png", png(side=256), pause=2.0)

    async def given_up() -> None:
        task = asyncio.create_task(download(url, own=[("127.0.0.1", site.port)]))
        while not site.headers:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_apart(asyncio.wait_for(given_up(), 5.0))


def test_nobody_waits_for_a_name_that_is_not_found_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, answered = threading.Event(), []

    def slow(*_: object, **__: object) -> list[object]:
        answered.append(answer.wait(10))
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(ProviderTimeout):
        run_apart(download("https://pictures.example/a.png", seconds=0.1))
    assert not answered
    answer.set()


def test_the_address_that_was_looked_at_is_the_one_that_is_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["93.184.216.34", "127.0.0.1"])
    reached = []

    async def connect(self: object, host: str, port: int, *_: object) -> None:
        reached.append((host, port))
        raise httpcore.ConnectError

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (next(answers), 443))])
    monkeypatch.setattr(httpcore.AnyIOBackend, "connect_tcp", connect)
    with pytest.raises(NetworkError):
        run_apart(download("https://pictures.example/a.png"))
    assert reached == [("93.184.216.34", 443)]


def test_a_host_that_there_is_not_is_a_network_error() -> None:
    with pytest.raises(NetworkError, match=r"no host pictures\.invalid;"):
        run_apart(download("https://pictures.invalid/a.png?signature=word"))


def test_a_certificate_is_asked_for_by_name() -> None:
    assert downloads._tls().verify_mode == ssl.CERT_REQUIRED
    assert downloads._tls().check_hostname
    hello = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            with server.accept()[0] as taken:
                hello.append(taken.recv(4096))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        port = server.getsockname()[1]
        with pytest.raises(NetworkError):
            run_apart(download(f"https://localhost:{port}/", own=[("localhost", port)]))
        listener.join(5)
    assert b"localhost" in hello[0]


def test_what_an_address_says_beside_its_host_is_not_told() -> None:
    for url in ("https://10.0.0.1/a.png?signature=word", "gopher://example.com/?signature=word"):
        with pytest.raises(BadDownload) as refused:
            run_apart(download(url))
        assert "word" not in refused.value.message


def test_a_data_url_is_read() -> None:
    kept = base64.b64encode(png()).decode()
    assert run_apart(download(f"data:image/png;base64,{kept}")) == png()
    assert run_apart(download("DATA:image/png,%89PN%47")) == b"\x89PNG"
    assert run_apart(download(f"data:image/png;base64,{kept.replace('+', '%2B')}")) == png()
    for wrong in ("data:image/png;base64,%%%", "data:image/png;base64", f"data:image/png;base64,{kept}"):
        with pytest.raises(BadDownload):
            run_apart(download(wrong, most_bytes=1000))
