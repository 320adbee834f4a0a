"""The site, made once; a server for it on this machine; a browser."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # so that tests share `visiting`

ROOT = Path(__file__).parents[2]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The site's directory, and how making it ended."""
    pytest.importorskip("sphinx")
    target = tmp_path_factory.mktemp("site")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTOMODELS_")}
    command = [sys.executable, str(ROOT / "docs" / "make_site.py"), str(target)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return target, done


@pytest.fixture(scope="session")
def site(made: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """The site's directory."""
    directory, done = made
    assert done.returncode == 0, done.stderr
    return directory


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """The address at which a directory is served while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    with served(site) as found:
        yield found


@pytest.fixture
def bad_page(tmp_path: Path) -> Iterator[str]:
    """The address of a directory with one page, `bad.html`, that has everything wrong."""
    wide = '<article><div style="width: 900px">wide</div><p style="font-size: 6px">small</p></article>'
    script = "<script>console.error('I complain'); missing()</script>"
    (tmp_path / "bad.html").write_text(
        f'<html><meta name="viewport" content="width=device-width"><body>{wide}<img src="gone.png">'
        f'<img src="http://localhost:9/far.png">{script}</body></html>'
    )
    with served(tmp_path) as found:
        yield found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium, without a window."""
    program = next((path for name in NAMES if (path := shutil.which(name))), None)
    if program is None:
        message = "There is no Chromium on PATH. Run: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        # In a container there is no sandbox to be had as root, and /dev/shm is small; the pages are our own.
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = running.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def visits(site: Path, address: str, browser: Any) -> dict[str, Any]:
    """Page → what was seen when it was opened, in a large window and in one of a phone's size."""
    import visiting

    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    seen = []
    for options in (visiting.DESKTOP, visiting.PHONE):
        window = browser.new_context(**options)
        seen.append(visiting.visits(window, address, pages))
        window.close()
    desktop, phone = seen
    return {page: (desktop[page], phone[page]) for page in pages}
