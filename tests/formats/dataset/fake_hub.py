"""A Hub in a thread: the few calls that a dataset's upload and download make, kept in memory."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import unquote, urlsplit

from tests.http_thread import serving

TOKEN = "hf_" + "S3cr3t" * 6


@dataclass
class FakeHub:
    """What is there (repo -> path -> bytes), what was asked (method, path), and what to answer amiss."""

    address: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: dict[str, bool] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    #: What was asked for when a place was made, and the hardware of each Space.
    created: list[dict] = field(default_factory=list)
    hardware: dict[str, str] = field(default_factory=dict)
    commits: list[dict[str, list[str]]] = field(default_factory=list)
    #: Path part -> (status, how often).
    fail: dict[str, list[int]] = field(default_factory=dict)
    #: Sizes that the listing is to claim.
    claimed: dict[str, int] = field(default_factory=dict)

    def sha(self, repo: str) -> str:
        digest = hashlib.sha1()
        for name, data in sorted(self.repos[repo].items()):
            digest.update(name.encode() + data)
        return digest.hexdigest()


@contextmanager
def serve() -> Iterator[FakeHub]:
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            path = self._begin()
            if path is None:
                return None
            if path == "/api/repos/create":
                return self._create(json.loads(body))
            if path == "/api/validate-yaml":
                return self._json({"errors": [], "warnings": []})
            _, _, _, owner, name, action, *_ = path.split("/")
            repo = hub.repos.get(f"{owner}/{name}")
            if repo is None:
                return self._json({"error": "Repository not found"}, 404)
            if action == "preupload":
                return self._json({"files": [self._mode(repo, f["path"]) for f in json.loads(body)["files"]]})
            if action == "hardware":
                hub.hardware[f"{owner}/{name}"] = json.loads(body)["flavor"]
                return self._json(
                    {"stage": "BUILDING", "hardware": {"requested": json.loads(body)["flavor"]}}
                )
            if action == "commit":
                return self._commit(f"{owner}/{name}", body)
            return self._json({}, 404)

        def do_GET(self):
            path = self._begin()
            if path is None:
                return None
            parts = path.split("/")
            if path.startswith(("/api/datasets/", "/api/spaces/")):
                repo = "/".join(parts[3:5])
                if parts[5:6] == ["tree"] and repo in hub.repos:
                    return self._tree(repo)
                return self._info(repo) if repo in hub.repos else self._no_such()
            if path.startswith("/datasets/") and parts[4] == "resolve":
                return self._file("/".join(parts[2:4]), "/".join(parts[6:]))
            return self._json({}, 404)

        do_HEAD = do_GET

        def _begin(self):
            path = unquote(urlsplit(self.path).path)
            hub.calls.append((self.command, path))
            hub.tokens.add((self.headers.get("authorization") or "").removeprefix("Bearer "))
            for part, failure in hub.fail.items():
                if part in path and failure[1] > 0:
                    failure[1] -= 1
                    self._json({"error": f"no, {self.headers.get('authorization')}"}, failure[0])
                    return None
            return path

        def _create(self, asked):
            repo = f"{asked['organization']}/{asked['name']}"
            hub.created.append(asked)
            answer = {"url": f"{hub.address}/{asked['type']}s/{repo}", "name": repo, "id": "1"}
            if repo in hub.repos:
                return self._json(answer | {"error": "You already created this dataset repo"}, 409)
            hub.repos[repo] = {".gitattributes": b"*.parquet filter=lfs\n"}
            hub.private[repo] = asked.get("private") is True or asked.get("visibility") == "private"
            return self._json(answer)

        def _mode(self, repo, path):
            data = repo.get(path)
            oid = None if data is None else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            return {"path": path, "uploadMode": "regular", "shouldIgnore": False, "oid": oid}

        def _commit(self, repo, body):
            done = {"add": [], "delete": []}
            for line in body.splitlines():
                entry = json.loads(line)
                value = entry["value"]
                if entry["key"] == "file":
                    hub.repos[repo][value["path"]] = base64.b64decode(value["content"])
                    done["add"].append(value["path"])
                elif entry["key"] == "deletedFile":
                    del hub.repos[repo][value["path"]]
                    done["delete"].append(value["path"])
            hub.commits.append(done)
            sha = hub.sha(repo)
            return self._json({"commitUrl": f"{hub.address}/datasets/{repo}/commit/{sha}", "commitOid": sha})

        def _info(self, repo):
            files = [
                {"rfilename": name, "size": hub.claimed.get(name, len(data)), "blobId": "0" * 40}
                for name, data in hub.repos[repo].items()
            ]
            return self._json(
                {"id": repo, "sha": hub.sha(repo), "private": hub.private[repo], "siblings": files}
            )

        def _tree(self, repo):
            return self._json(
                [
                    {"type": "file", "path": name, "size": len(data), "oid": "0" * 40}
                    for name, data in hub.repos[repo].items()
                ]
            )

        def _file(self, repo, path):
            data = hub.repos.get(repo, {}).get(path)
            if data is None:
                return self._json({"error": "Entry not found"}, 404)
            headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": hub.sha(repo)}
            return self._send(data, 200, headers)

        def _no_such(self):
            headers = {"Content-Type": "application/json", "X-Error-Code": "RepoNotFound"}
            return self._send(b'{"error": "Not found"}', 404, headers)

        def _json(self, data, status=200):
            return self._send(json.dumps(data).encode(), status, {"Content-Type": "application/json"})

        def _send(self, data, status, headers):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    with serving(Handler) as hub.address:
        yield hub
