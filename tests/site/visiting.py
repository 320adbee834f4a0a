"""One visit to a page by a browser, and what was seen."""

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
            if (!shown(element) || box.right <= innerWidth + 1) return false;
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


def visit(window: Any, address: str, path: str) -> Visit:
    """Opens a page in a tab of its own."""
    seen = Visit()
    tab = window.new_page()
    tab.on("console", lambda said: said.type in ("error", "warning") and seen.complaints.append(said.text))
    tab.on("pageerror", lambda error: seen.complaints.append(str(error)))
    tab.on("requestfailed", lambda request: seen.complaints.append(f"{request.url} failed: {request.failure}"))
    tab.on("response", lambda answer: answer.status >= 400 and seen.complaints.append(f"{answer.status} {answer.url}"))
    tab.on("request", lambda request: seen.complaints.extend(elsewhere(request.url, address)))
    answer = tab.goto(address + path, wait_until="load")
    seen.status = answer.status
    seen.facts = tab.evaluate(_FACTS)
    tab.close()
    return seen


def elsewhere(url: str, address: str) -> list[str]:
    """A complaint about a request that leaves the site."""
    return [] if url.startswith((address, "data:")) else [f"{url} is not of this site"]
