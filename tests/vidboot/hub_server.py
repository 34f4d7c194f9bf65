"""A stand-in for the Hugging Face hub: the endpoints that its client asks for, kept in memory, without Xet."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Hub(ThreadingHTTPServer):
    """Files by repository and path, and every request that came. Files of `large` kinds come through Git LFS."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str]] = []
        self.large = (".safetensors", ".gif")

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def fetched(self) -> list[str]:
        """Names of the files that were downloaded, in order."""
        return {
            path.split("/resolve/")[1].partition("/")[2]
            for kind, path in self.requests
            if kind == "GET" and "/resolve/" in path
        }


@contextmanager
def hub() -> Iterator[Hub]:
    """A hub that runs on this machine."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def commit_of(files: dict[str, bytes]) -> str:
    """The name of the commit that holds these files."""
    return hashlib.sha1(b"".join(name.encode() + data for name, data in sorted(files.items()))).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        """Say nothing."""

    def _answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, values: Any, status: int = 200, **headers: str) -> None:
        self._answer(json.dumps(values).encode(), status, Content_Type="application/json", **headers)

    def _start(self) -> tuple[str, bytes]:
        path = self.path.partition("?")[0]
        self.server.requests.append((self.command, path))
        return path, self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_POST(self) -> None:
        """Make a repository, say how files are to come, take a commit."""
        path, body = self._start()
        if self.headers.get("Authorization") != "Bearer hf_right":
            self._json({"error": "Invalid credentials"}, 401)
        elif path == "/api/repos/create":
            wanted = json.loads(body)
            name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
            self.server.repositories.setdefault(name, {})
            self._json({"url": f"{self.server.address}/{name}", "id": name})
        elif path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            files = [one["path"] for one in json.loads(body)["files"]]
            modes = ["lfs" if name.endswith(self.server.large) else "regular" for name in files]
            pairs = zip(files, modes, strict=True)
            self._json({"files": [{"path": n, "uploadMode": m, "shouldIgnore": False} for n, m in pairs]})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            upload = [{"href": f"{self.server.address}/blobs/{one['oid']}"} for one in objects]
            both = zip(objects, upload, strict=True)
            answer = [{"oid": o["oid"], "size": o["size"], "actions": {"upload": u}} for o, u in both]
            self._json({"transfer": "basic", "objects": answer})
        elif "/commit/" in path:
            self._commit(path.removeprefix("/api/models/").partition("/commit/")[0], body)
        else:
            self._json({"error": f"no {path}"}, 404)

    def _commit(self, name: str, body: bytes) -> None:
        files = self.server.repositories[name]
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if line["key"] == "lfsFile":
                files[value["path"]] = self.server.blobs[value["oid"]]
        commit = commit_of(files)
        self._json({"commitUrl": f"{self.server.address}/{name}/commit/{commit}", "commitOid": commit})

    def do_PUT(self) -> None:
        """Take a large file."""
        path, body = self._start()
        self.server.blobs[path.rpartition("/")[2]] = body
        assert hashlib.sha256(body).hexdigest() == path.rpartition("/")[2]
        self._answer(b"")

    def do_GET(self) -> None:
        """List a repository, or give a file."""
        path, _ = self._start()
        name = path.removeprefix("/api/models/") if path.startswith("/api/") else path[1:].partition("/resolve/")[0]
        name = name.partition("/revision/")[0].partition("/tree/")[0]
        files = self.server.repositories.get(name)
        if files is None:
            self._json({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
            return
        commit = commit_of(files)
        if "/tree/" in path:
            self._json([{"type": "file", "path": n, "size": len(d), "oid": _blob(d)} for n, d in files.items()])
        elif path.startswith("/api/"):
            siblings = [{"rfilename": one} for one in files]
            self._json({"id": name, "sha": commit, "siblings": siblings, "private": False})
        elif (data := files.get(path.partition("/resolve/")[2].partition("/")[2])) is not None:
            self._answer(data, ETag=f'"{_blob(data)}"', X_Repo_Commit=commit)
        else:
            self._json({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")

    def do_HEAD(self) -> None:
        """The same, without the content."""
        self.do_GET()


def _blob(data: bytes) -> str:
    """The name that Git gives to a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
