"""The HTTP side of a fake Hub: listings, files with redirects to storage, ranges, and the faults that were ordered.

As on the Hub, a large file is answered with a redirect to storage on another host, which refuses tokens.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from automodels.testing import hub_uploads
from automodels.testing.hub_repository import FakeRepository, described, etag, is_large, sha256

if TYPE_CHECKING:
    from automodels.testing.hub import FakeHub, Fault

NAME = r"(?P<name>[\w.-]+(?:/[\w.-]+)?)"
INFO = re.compile(rf"/api/models/{NAME}?(?:/revision/(?P<revision>[^/]+))?")
TREE = re.compile(rf"/api/models/{NAME}/tree/(?P<revision>[^/]+)")
FILE = re.compile(rf"/{NAME}/resolve/(?P<revision>[^/]+)/(?P<file>.+)")
STORED = re.compile(r"/storage/(?P<sha256>[0-9a-f]{64})")


class Answer(Exception):  # noqa: N818  # an answer that is found deep inside
    """A status with a reason, in the form that the client understands."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(status)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message} if code or message else {}


class Handler(BaseHTTPRequestHandler):
    """Answers one request after the other."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815  # http.server's names

    def log_message(self, *args: Any) -> None:
        """Says nothing."""

    @property
    def hub(self) -> FakeHub:
        """The one whose server this is."""
        found: FakeHub = self.server.hub  # type: ignore[attr-defined]  # the server is ours
        return found

    @property
    def token(self) -> str | None:
        """The token that came with the request."""
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def read_body(self) -> bytes:
        """The content of the request, whole or in chunks."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        blocks = []
        while size := int(self.rfile.readline(), 16):
            blocks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(blocks)

    def reply(self, status: int, content: bytes = b"", **headers: str) -> None:
        """Sends an answer; underscores in names of headers are hyphens."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def reply_json(self, content: object, status: int = 200) -> None:
        """Sends JSON."""
        self.reply(status, json.dumps(content).encode(), Content_Type="application/json")

    def repository(self, name: str, *, content: bool = False) -> FakeRepository:
        """A repository that the token may see, and for `content` also read."""
        if self.token is not None and self.token not in self.hub.tokens:
            raise Answer(401, "", "Invalid credentials in Authorization header")
        repository = self.hub.repositories.get(name)
        if repository is None or (repository.private and self.token is None):
            raise Answer(404 if self.token else 401, "RepoNotFound", "Repository not found")
        if content and repository.gated and name not in self.hub.tokens.get(self.token or "", ()):
            raise Answer(403 if self.token else 401, "GatedRepo", "Access to this model is restricted.")
        return repository

    def _answer(self) -> None:
        from automodels.testing.hub import Request

        headers = {name.lower(): value for name, value in self.headers.items()}
        self.hub.requests.append(Request(method=self.command, path=self.path, headers=headers))
        fault = self.hub.take_fault(self.command, self.path)
        try:
            self._respond(fault)
        except Answer as answer:
            error = json.dumps({"error": answer.headers.get("X-Error-Message", "")}).encode()
            self.reply(answer.status, error, Content_Type="application/json", **_keywords(answer.headers))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _respond(self, fault: Fault | None) -> None:
        if fault is not None:
            time.sleep(fault.delay)
            if fault.status:
                self.read_body()
                self.reply(fault.status, b"", **_keywords(fault.headers))
                return
        path = unquote(urlsplit(self.path).path)
        if self.command in ("POST", "PUT"):
            hub_uploads.respond(self, path, self.read_body())
        elif found := STORED.fullmatch(path):
            self._send_stored(found["sha256"], fault)
        elif found := FILE.fullmatch(urlsplit(self.path).path):
            self._send_file(found["name"], unquote(found["revision"]), unquote(found["file"]), fault)
        elif found := TREE.fullmatch(urlsplit(self.path).path):
            self._send_tree(found["name"], unquote(found["revision"]))
        elif found := INFO.fullmatch(urlsplit(self.path).path):
            self._send_info(found["name"], unquote(found["revision"] or "main"))
        else:
            raise Answer(404)

    def _revision(self, repository: FakeRepository, revision: str) -> tuple[str, dict[str, bytes]]:
        sha = repository.resolve(revision)
        if sha is None:
            raise Answer(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha, repository.commits[sha]

    def _send_info(self, name: str, revision: str) -> None:
        repository = self.repository(name)
        sha, files = self._revision(repository, revision)
        blobs = parse_qs(urlsplit(self.path).query).get("blobs")
        siblings = [described(file, data) if blobs else {"rfilename": file} for file, data in sorted(files.items())]
        self.reply_json({
            "id": name, "modelId": name, "sha": sha, "private": repository.private,
            "gated": "auto" if repository.gated else False, "siblings": siblings, "tags": [],
        })  # fmt: skip

    def _send_tree(self, name: str, revision: str) -> None:
        _, files = self._revision(self.repository(name), revision)
        entries = []
        for file, data in sorted(files.items()):
            entry = described(file, data)
            large = {"lfs": {"oid": sha256(data), "size": len(data), "pointerSize": 134}} if is_large(file) else {}
            entries.append({"type": "file", "path": file, "size": len(data), "oid": entry["blobId"], **large})
        self.reply_json(entries)

    def _send_file(self, name: str, revision: str, file: str, fault: Fault | None) -> None:
        sha, files = self._revision(self.repository(name, content=True), revision)
        if file not in files:
            raise Answer(404, "EntryNotFound", "Entry not found")
        data = files[file]
        tag = f'"{etag(file, data)}"'
        if fault is not None:
            sha = fault.headers.get("X-Repo-Commit", sha)
        if not is_large(file):
            self._send_content(data, fault, X_Repo_Commit=sha, ETag=tag)
            return
        location = f"{self.hub.storage_url}/storage/{sha256(data)}"
        self.reply(302, Location=location, X_Repo_Commit=sha, X_Linked_Size=str(len(data)), X_Linked_ETag=tag, ETag=tag)

    def _send_stored(self, digest: str, fault: Fault | None) -> None:
        if self.token is not None:
            raise Answer(400, "", "Only one auth mechanism allowed")
        trees = (tree for found in self.hub.repositories.values() for tree in found.commits.values())
        stored = {sha256(data): data for tree in trees for name, data in tree.items() if is_large(name)}
        if digest not in stored:
            raise Answer(404)
        self._send_content(stored[digest], fault, ETag=f'"{digest}"')

    def _send_content(self, data: bytes, fault: Fault | None, **headers: str) -> None:
        content = data if fault is None or fault.content is None else fault.content
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        status = 200
        if asked is not None:
            start, end = int(asked[1]), int(asked[2] or len(content) - 1)
            headers["Content_Range"] = f"bytes {start}-{end}/{len(content)}"
            content, status = content[start : end + 1], 206
        headers["Accept_Ranges"] = "bytes"
        if fault is not None and fault.cut and self.command != "HEAD":
            self.reply(status, content[: fault.cut], Content_Length=str(len(content)), **headers)
            self.wfile.flush()
            self.close_connection = True
            return
        self.reply(status, content, Content_Length=str(len(content)), **headers)


def _keywords(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("-", "_"): value for name, value in headers.items()}
