"""A Hub in a thread that has models: what is listed of them, their files, and parts of these."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tests.http_thread import serving

COMMIT = "0123456789" * 4


@dataclass
class ModelHub:
    """What is there (repo -> path -> bytes), what is said of it, and what was sent."""

    address: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    #: Repo -> more of the answer to "what is this model".
    told: dict[str, dict] = field(default_factory=dict)
    #: Repos whose files are only for this token.
    gated: dict[str, str] = field(default_factory=dict)
    #: (method, path, bytes sent).
    calls: list[tuple[str, str, int]] = field(default_factory=list)

    def add(self, repo: str, folder: Path, under: str = "", **told) -> dict[str, bytes]:
        files = {
            f"{under}{path.relative_to(folder).as_posix()}": path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        self.repos.setdefault(repo, {}).update(files)
        self.told.setdefault(repo, {}).update(told)
        return files

    def sent(self, ending: str) -> int:
        """Bytes that were sent of files with this ending."""
        return sum(sent for _, path, sent in self.calls if path.endswith(ending))


@contextmanager
def serve() -> Iterator[ModelHub]:
    hub = ModelHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                return self._listed("/".join(parts[2:4]), parts[4:], path)
            return self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), path)

        do_HEAD = do_GET

        def _listed(self, repo, rest, path):
            if repo not in hub.repos:
                return self._send(b"{}", 404, path, {"X-Error-Code": "RepoNotFound"})
            if rest[:1] == ["revision"] and rest[1] not in ("main", COMMIT):
                return self._send(b"{}", 404, path, {"X-Error-Code": "RevisionNotFound"})
            files = hub.repos[repo].items()
            if rest[:1] == ["tree"]:
                tree = [
                    {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                    for name, data in files
                ]
                return self._send(json.dumps(tree).encode(), 200, path)
            siblings = [{"rfilename": name, "size": len(data), "blobId": "0" * 40} for name, data in files]
            answer = {"id": repo, "sha": COMMIT, "siblings": siblings, "private": False, **hub.told[repo]}
            return self._send(json.dumps(answer).encode(), 200, path)

        def _file(self, repo, revision, name, path):
            token = hub.gated.get(repo)
            if token and self.headers.get("authorization") != f"Bearer {token}":
                return self._send(b"", 401, path, {"X-Error-Code": "GatedRepo"})
            data = hub.repos.get(repo, {}).get(name)
            if data is None or revision not in ("main", COMMIT):
                return self._send(b"", 404, path, {"X-Error-Code": "EntryNotFound"})
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
            if asked := self.headers.get("range"):
                first, last = asked.removeprefix("bytes=").split("-")
                part = data[int(first) : int(last) + 1 if last else None]
                headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
                return self._send(part, 206, path, headers)
            return self._send(data, 200, path, headers)

        def _send(self, data, status, path, headers=None):
            hub.calls.append((self.command, path, len(data) if self.command == "GET" else 0))
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    with serving(Handler) as hub.address:
        yield hub
