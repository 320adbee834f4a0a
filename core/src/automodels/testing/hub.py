"""A fake Hub on the loopback that the real huggingface_hub client talks to, with faults on order.

from automodels.testing.hub import fake_hub  # a pytest fixture

def test_something(fake_hub):
    fake_hub.add("org/model", {"config.json": "{}"})
    fake_hub.fail("/resolve/", status=503, times=1)
    AutoConfig.from_pretrained("org/model")
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from automodels.testing.hub_repository import FakeRepository
from automodels.testing.hub_server import Handler


@dataclass(kw_only=True)
class Fault:
    """What goes wrong with requests whose path contains a text."""

    path: str
    method: str = ""
    """Empty for any."""

    times: int = 1 << 30
    status: int = 0
    """Answered with this status."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with `status`; without one, only X-Repo-Commit has an effect: the file claims another commit."""

    delay: float = 0.0
    """Seconds before the answer."""

    cut: int = 0
    """The connection is closed after so many bytes of the content."""

    content: bytes | None = None
    """Sent in place of the true content."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request that the fake Hub received."""

    method: str
    path: str
    headers: Mapping[str, str]


class FakeHub:
    """Repositories behind HTTP; `url` is what HF_ENDPOINT has to be."""

    def __init__(self) -> None:
        self.repositories: dict[str, FakeRepository] = {}
        self.tokens: dict[str, set[str]] = {}
        """Token → gated repositories whose terms were accepted with it."""

        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.uploads: dict[str, bytes] = {}
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.hub = self  # type: ignore[attr-defined]  # how the handler finds it
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the Hub."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def storage_url(self) -> str:
        """The address of large file storage: another host, which must never see a token."""
        return f"http://localhost:{self._server.server_port}"

    def add(
        self, name: str, files: Mapping[str, bytes | str], *, private: bool = False, gated: bool = False
    ) -> FakeRepository:
        """A new repository with one commit on `main`."""
        repository = FakeRepository(name=name, private=private, gated=gated)
        repository.commit(files)
        self.repositories[name] = repository
        return repository

    def fail(self, path: str, **how: Any) -> Fault:
        """Orders a fault: the fields of `Fault`."""
        fault = Fault(path=path, **how)
        self.faults.append(fault)
        return fault

    def asked(self, method: str = "", path: str = "") -> list[str]:
        """Paths of the requests so far whose method and path fit."""
        return [seen.path for seen in self.requests if method in seen.method and path in seen.path]

    def take_fault(self, method: str, path: str) -> Fault | None:
        """The fault for a request, if one was ordered; counts it."""
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.path in path and fault.method in method:
                    fault.times -= 1
                    return fault
        return None

    def close(self) -> None:
        """Stops answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A fake Hub that huggingface_hub is directed to, with an empty cache and nobody logged in."""
    yield from running_hub(tmp_path, monkeypatch)


def running_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A fake Hub for as long as the iterator lives."""
    client = pytest.importorskip("huggingface_hub")
    hub = FakeHub()
    cache = tmp_path / "hub-cache"
    direct(monkeypatch, hub.url, cache)
    yield hub
    close = getattr(client, "close_session", None) or client.utils.reset_sessions  # its name until version 0.36
    close()
    hub.close()


def direct(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Directs huggingface_hub to `url` and `cache`: here by its constants, in child processes by variables."""
    from huggingface_hub import constants, file_download

    variables = {
        "HF_ENDPOINT": url,
        "HF_HUB_CACHE": str(cache),
        "HF_HOME": str(cache.parent),
        "HF_TOKEN_PATH": str(cache.parent / "no-token"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_OFFLINE": "0",
    }
    values: dict[str, object] = {
        "HUGGINGFACE_CO_URL_TEMPLATE": f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
        "ENDPOINT": url,
        "HF_HUB_CACHE": str(cache),
        "HF_TOKEN_PATH": variables["HF_TOKEN_PATH"],
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, constant in values.items():
        monkeypatch.setattr(constants, name, constant, raising=False)  # version 0.30 knows no Xet
        if hasattr(file_download, name):  # until version 0.36
            monkeypatch.setattr(file_download, name, constant)
