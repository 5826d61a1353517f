"""Relative links lead somewhere, anchors included, and every page can be reached from the index."""

import re
from functools import cache

import pytest

from tests.docs.pages import ROOT, Page, pages

_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def _links(page: Page) -> list[str]:
    return [link for link in _LINK.findall(page.prose) if not re.match(r"[a-z]+:", link)]


@cache
def _anchors(name: str) -> frozenset[str]:
    """Headings as GitHub's anchors: lower case, punctuation gone, blanks become hyphens."""
    headings = (re.sub(r"[`*]", "", heading).lower() for heading in _HEADING.findall(Page(name).prose))
    return frozenset(re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_links_lead_somewhere(page: Page) -> None:
    for link in _links(page):
        target, _, anchor = link.partition("#")
        path = (page.path.parent / target).resolve() if target else page.path
        assert path.exists(), f"{page.name}: {link} does not exist"
        if anchor:
            name = path.relative_to(ROOT).as_posix()
            assert anchor in _anchors(name), f"{page.name}: {link} has no such heading; there are {_anchors(name)}"


def test_every_page_is_linked_from_the_index_or_its_own_list() -> None:
    linked: set[str] = set()
    for name in ("README.md", "docs/README.md", "docs/decisions/README.md"):
        page = Page(name)
        for link in _links(page):
            linked.add((page.path.parent / link.partition("#")[0]).resolve().relative_to(ROOT).as_posix())
    missing = {page.name for page in pages()} - linked - {"README.md"}
    assert not missing, f"not linked: {sorted(missing)}"


def test_every_page_begins_with_its_title_and_is_of_readable_length() -> None:
    for page in pages():
        text = page.text
        assert text.startswith("# "), page.name
        written_by_hand = re.sub(r"<!-- generated: .*?<!-- end -->", "", text, flags=re.DOTALL)
        assert written_by_hand.count("\n") <= 400, page.name
