"""A web server whose answers a test decides, by path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.http_thread import serving

Answer = Callable[[BaseHTTPRequestHandler], None]
KINDS = {".json": "application/json", ".png": "image/png", ".zip": "application/zip"}


class Web:
    """What is served: ``files`` by path, and ``answers`` that are given instead. ``asked``: the paths, in order."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.connections: set[object] = set()
        self.url = ""

    def folder(self, folder: Path, at: str) -> str:
        """Serve a folder's files below a path, and return its address."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.files[f"{at}/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
        return self.url + at

    def redirect(self, path: str, to: str) -> str:
        """Send who asks for a path elsewhere, and return the path's address."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(302)
            handler.send_header("Location", to)
            handler.send_header("Content-Length", "0")
            handler.end_headers()

        self.answers[path] = answer
        return self.url + path

    def says(self, path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
        """Answer a path with these headers, as they are, and return its address."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body)
            handler.close_connection = True

        self.answers[path] = answer
        return self.url + path


@contextmanager
def web() -> Iterator[Web]:
    """Serve until the end of the context."""
    served = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            served.asked.append(path)
            served.connections.add(self.client_address)
            if path in served.answers:
                served.answers[path](self)
                return
            body = served.files.get(path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", KINDS.get(Path(path).suffix, "application/octet-stream"))
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *args: object) -> None:
            pass

    with serving(Handler) as url:
        served.url = url
        yield served
