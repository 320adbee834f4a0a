"""The documentation as a site: made without a warning, and looked at in a browser, page by page."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests" / "plugin_api")]

SMALLEST = 11  # pixels of a letter that one can still read: code in a table


def test_everything_that_is_wrong_with_a_page_is_seen(browser, bad_page):
    import visiting

    window = browser.new_context(**visiting.PHONE)
    seen = visiting.visits(window, bad_page, ["bad.html"])["bad.html"]
    window.close()

    said = "\n".join(seen.complaints)
    for complaint in ("I complain", "missing is not defined", "404 ", "localhost:9/far.png is not of this site"):
        assert complaint in said
    assert seen.facts["width"] > seen.facts["window"] == 375
    assert len(seen.facts["wide"]) == 1
    assert min(map(float, seen.facts["sizes"])) == 6


def test_the_site_is_made_without_a_warning(made):
    _, done = made

    assert (done.returncode, done.stderr) == (0, "")


def test_every_page_of_the_folder_is_on_the_site(site):
    assert [page.stem for page in (ROOT / "docs").glob("*.md") if not (site / f"{page.stem}.html").is_file()] == []


def test_every_page_opens_and_nothing_complains(visits):
    found = {page: (desktop.status, phone.status) for page, (desktop, phone) in visits.items()}
    complaints = {page: [*desktop.complaints, *phone.complaints] for page, (desktop, phone) in visits.items()}

    assert len(found) > 25
    assert {page: status for page, status in found.items() if status != (200, 200)} == {}
    assert {page: said for page, said in complaints.items() if said} == {}


def test_every_link_of_the_site_leads_to_a_place_that_is_there(visits, address):
    ids = {page: {*desktop.facts["ids"], ""} for page, (desktop, _) in visits.items()}
    dead = []
    for page, (desktop, _) in visits.items():
        for link in desktop.facts["links"]:
            target, anchor = urldefrag(link)
            if target.startswith(address):
                path = unquote(target.removeprefix(address)) or "index.html"
                if path not in ids or unquote(anchor) not in ids[path]:
                    dead.append((page, link.removeprefix(address)))

    assert dead == []


def test_links_to_elsewhere_are_few_and_encrypted(visits, address):
    outside = {link for desktop, _ in visits.values() for link in desktop.facts["links"] if address not in link}

    assert [link for link in outside if not link.startswith("https://")] == []


def test_no_page_is_wider_than_a_phone(visits):
    wide = {
        page: phone.facts["wide"]
        for page, (_, phone) in visits.items()
        if phone.facts["width"] > phone.facts["window"] or phone.facts["wide"]
    }

    assert {phone.facts["window"] for _, phone in visits.values()} == {375}
    assert wide == {}


def test_text_is_large_enough_to_be_read_on_a_phone(visits):
    small = {
        page: text
        for page, (_, phone) in visits.items()
        for size, text in phone.facts["sizes"].items()
        if float(size) < SMALLEST
    }

    assert all(16.0 in map(float, phone.facts["sizes"]) for page, (_, phone) in visits.items() if page == "tour.html")
    assert small == {}


def test_who_asks_for_a_dark_page_gets_one(visits):
    for desktop, phone in visits.values():
        light, dark = (sum(map(int, re.findall(r"\d+", seen.facts["background"])[:3])) for seen in (desktop, phone))
        assert light > 600 > 150 > dark


@pytest.mark.parametrize("start", ["index.html", "reference/errors.html"])
def test_a_phone_reaches_every_page_by_the_menu(browser, address, start):
    from visiting import PHONE

    window = browser.new_context(**PHONE)
    tab = window.new_page()
    tab.goto(address + start)
    entry = tab.locator(".sidebar-tree a", has_text="Threat model")

    before = entry.bounding_box()
    tab.locator("label[for=__navigation]:visible").first.click()
    tab.wait_for_function("document.querySelector('.sidebar-drawer').getBoundingClientRect().left >= 0")
    entry.click()
    tab.wait_for_url("**/threat-model.html")

    assert before["x"] < 0
    assert tab.locator("h1").inner_text().startswith("Threat model")
    window.close()


@pytest.mark.parametrize(("words", "page"), [("AmbiguousModelError", "errors.html"), ("lora adapter", "pytorch.html")])
def test_search_finds(browser, address, words, page):
    tab = browser.new_page()
    tab.goto(address)

    tab.locator("input[name=q]").fill(words)
    tab.locator("input[name=q]").press("Enter")
    tab.wait_for_selector("#search-results li a")
    found = [link.get_attribute("href") for link in tab.locator("#search-results li a").all()]
    tab.close()

    assert any(page in link for link in found), found


def test_everything_that_the_plugin_api_promises_is_in_the_reference(visits):
    import reference_pages
    import signatures

    there = {name for page, (desktop, _) in visits.items() if "reference/" in page for name in desktop.facts["ids"]}

    promised = [reference for part in signatures.PARTS for reference in signatures.promised(part)]
    missing = [name for name in promised if reference_pages.home(name).replace(":", ".") not in there]
    assert missing == []


def test_every_command_is_in_the_reference_and_no_private_name(visits):
    from automodels_cli.arguments import parser

    (commands,) = [action for action in parser()._actions if isinstance(action.choices, dict)]
    ids = {name for page, (desktop, _) in visits.items() if "reference/" in page for name in desktop.facts["ids"]}

    assert [name for name in commands.choices if not any(i.startswith(f"registry-{name}") for i in ids)] == []
    assert [name for name in ids if re.search(r"\._[a-z]", name)] == []


def test_the_words_of_the_glossary_can_be_linked(visits):
    ids = visits["glossary.html"][0].facts["ids"]

    assert {"term-backend", "term-plugin", "term-key-map"} <= set(ids)
