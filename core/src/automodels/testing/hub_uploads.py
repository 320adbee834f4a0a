"""Uploads to a fake Hub: creating a repository, large files, and the commit that names them."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING

from automodels.testing.hub_repository import FakeRepository, git_blob, is_large, sha256

if TYPE_CHECKING:
    from automodels.testing.hub_server import Handler

_NAME = r"(?P<name>[\w.-]+(?:/[\w.-]+)?)"
_PREUPLOAD = re.compile(rf"/api/models/{_NAME}/preupload/(?P<revision>.+)")
_COMMIT = re.compile(rf"/api/models/{_NAME}/commit/(?P<revision>.+)")
_BRANCH = re.compile(rf"/api/models/{_NAME}/branch/(?P<revision>.+)")
_BATCH = re.compile(rf"/{_NAME}\.git/info/lfs/objects/batch")
_UPLOAD = re.compile(r"/upload/(?P<sha256>[0-9a-f]{64})")


def respond(handler: Handler, path: str, body: bytes) -> None:
    """Answers a request that changes something; every one but storage needs a token."""
    from automodels.testing.hub_server import Answer

    if found := _UPLOAD.fullmatch(path):
        _store(handler, found["sha256"], body)
        return
    if handler.token not in handler.hub.tokens:
        raise Answer(401, "", "Invalid credentials in Authorization header")
    if path == "/api/validate-yaml":
        handler.reply_json({"errors": [], "warnings": []})
    elif path == "/api/repos/create":
        _create(handler, json.loads(body))
    elif found := _BATCH.fullmatch(path):
        _batch(handler, json.loads(body))
    elif found := _PREUPLOAD.fullmatch(path):
        _preupload(handler, found["name"], found["revision"], json.loads(body))
    elif found := _BRANCH.fullmatch(path):
        _branch(handler, found["name"], found["revision"])
    elif found := _COMMIT.fullmatch(path):
        _commit(handler, found["name"], found["revision"], body)
    else:
        raise Answer(404)


def _create(handler: Handler, asked: dict[str, object]) -> None:
    name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else f"me/{asked['name']}"
    if name in handler.hub.repositories:
        handler.reply_json({"error": "You already created this model repo", "url": f"{handler.hub.url}/{name}"}, 409)
        return
    private = asked.get("private") is True or asked.get("visibility") == "private"
    repository = FakeRepository(name=name, private=private)
    repository.commit({".gitattributes": "*.safetensors filter=lfs\n"}, message="initial commit")
    handler.hub.repositories[name] = repository
    handler.reply_json({"url": f"{handler.hub.url}/{name}", "name": name})


def _branch(handler: Handler, name: str, revision: str) -> None:
    repository = handler.repository(name)
    if revision in repository.refs:
        handler.reply_json({"error": "Reference already exists"}, 409)
        return
    repository.refs[revision] = repository.refs["main"]
    handler.reply_json({})


def _preupload(handler: Handler, name: str, revision: str, asked: dict[str, list[dict[str, str]]]) -> None:
    tree = handler.repository(name).tree(revision) or {}
    handler.reply_json(
        {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if is_large(file["path"]) else "regular",
                    "shouldIgnore": False,
                    "oid": git_blob(tree[file["path"]]) if file["path"] in tree else None,
                }
                for file in asked["files"]
            ]
        }
    )


def _batch(handler: Handler, asked: dict[str, list[dict[str, object]]]) -> None:
    def answer(entry: dict[str, object]) -> dict[str, object]:
        href = f"{handler.hub.storage_url}/upload/{entry['oid']}"
        return {**entry, "authenticated": True, "actions": {"upload": {"href": href, "header": {}}}}

    handler.reply_json({"transfer": "basic", "objects": [answer(entry) for entry in asked["objects"]]})


def _store(handler: Handler, digest: str, body: bytes) -> None:
    from automodels.testing.hub_server import Answer

    if sha256(body) != digest:
        raise Answer(400, "", "The content has another hash")
    handler.hub.uploads[digest] = body
    handler.reply(200)


def _commit(handler: Handler, name: str, revision: str, body: bytes) -> None:
    repository = handler.repository(name)
    lines = [json.loads(line) for line in body.splitlines() if line]
    files: dict[str, bytes | str] = {}
    delete = []
    message = ""
    for line in lines:
        value = line["value"]
        if line["key"] == "header":
            message = value["summary"]
        elif line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
        elif line["key"] == "lfsFile":
            files[value["path"]] = handler.hub.uploads[value["oid"]]
        elif line["key"] == "deletedFile":
            delete.append(value["path"])
    request = "create_pr=1" in handler.path
    ref = f"refs/pr/{sum(key.startswith('refs/pr/') for key in repository.refs) + 1}" if request else revision
    if request:
        repository.refs[ref] = repository.refs[revision]
    sha = repository.commit(files, delete=delete, ref=ref, message=message)
    answer = {"success": True, "commitOid": sha, "commitUrl": f"{handler.hub.url}/{name}/commit/{sha}"}
    if request:
        answer["pullRequestUrl"] = f"{handler.hub.url}/{name}/discussions/{ref.rpartition('/')[2]}"
    handler.reply_json(answer)
