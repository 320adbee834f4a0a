"""Visits to pages by a browser, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 375, "height": 800}, "is_mobile": True, "has_touch": True, "color_scheme": "dark"}

_FACTS = """() => {
    const shown = element => element.offsetParent !== null && element.getClientRects().length > 0;
    const sizes = {};
    const texts = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (texts.currentNode.data.trim() && shown(element) && !element.closest(".headerlink"))
            sizes[parseFloat(getComputedStyle(element).fontSize)] = texts.currentNode.data.trim().slice(0, 40);
    }
    return {
        title: document.title,
        links: [...document.querySelectorAll("a[href]")].map(link => link.href),
        ids: [...document.querySelectorAll("[id]")].map(element => element.id),
        width: document.documentElement.scrollWidth,
        window: document.documentElement.clientWidth,
        sizes: sizes,
        background: getComputedStyle(document.body).backgroundColor,
        wide: [...document.querySelectorAll("article *")].filter(element => {
            const box = element.getBoundingClientRect();
            if (!shown(element) || box.right <= document.documentElement.clientWidth + 1) return false;
            for (let outer = element.parentElement; outer; outer = outer.parentElement)
                if (["auto", "scroll", "hidden"].includes(getComputedStyle(outer).overflowX)) return false;
            return true;
        }).map(element => element.outerHTML.slice(0, 100)),
    };
}"""


@dataclass
class Visit:
    """What was seen of a page."""

    status: int = 0
    facts: dict[str, Any] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    """What the console said, what could not be fetched, and what was asked of anybody else."""


def visits(window: Any, address: str, pages: list[str]) -> dict[str, Visit]:
    """What is seen when pages are opened, one after the other in one tab."""
    seen: dict[str, Visit] = {}
    tab = window.new_page()

    def complain(*texts: str) -> None:
        list(seen.values())[-1].complaints.extend(texts)

    tab.on("console", lambda said: said.type in ("error", "warning") and complain(f"{said.text} {said.location}"))
    tab.on("pageerror", lambda error: complain(str(error)))
    tab.on("requestfailed", lambda request: complain(*failed(request)))
    tab.on("response", lambda answer: answer.status >= 400 and complain(f"{answer.status} {answer.url}"))
    tab.on("request", lambda request: complain(*elsewhere(request.url, address)))
    for page in pages:
        visit = seen[page] = Visit()
        visit.status = tab.goto(address + page, wait_until="load").status
        visit.facts = tab.evaluate(_FACTS)
    tab.close()
    return seen


def failed(request: Any) -> list[str]:
    """A complaint about a request that failed; one that ended because the next page was opened did not."""
    return [] if request.failure == "net::ERR_ABORTED" else [f"{request.url} failed: {request.failure}"]


def elsewhere(url: str, address: str) -> list[str]:
    """A complaint about a request that leaves the site."""
    return [] if url.startswith((address, "data:")) else [f"{url} is not of this site"]
