"""What the documentation shows is executed: every block with a `run:` comment, page by page, in its order."""

import json
import re
from pathlib import Path

import pytest

from tests.docs.acme import answer_as_acme
from tests.docs.pages import ROOT, RUNNABLE, Block, Page, pages
from tests.docs.workspace import Workspace
from tests.fakes.upstream import FakeUpstream

_PAGES = pages()
_BLOCKS = [block for page in _PAGES for block in page.blocks]
_WITH_RUNS = [page for page in _PAGES if any(block.verb for block in page.blocks)]
_HANDLERS = {"docs/how-to/add-a-dialect.md": answer_as_acme}


@pytest.mark.e2e
@pytest.mark.parametrize("page", _WITH_RUNS, ids=lambda page: page.name)
def test_every_block_of_a_page_works(page: Page, tmp_path: Path, upstream: FakeUpstream) -> None:
    if page.name in _HANDLERS:
        upstream.on(_HANDLERS[page.name])
    with Workspace(tmp_path, checkout=page.needs_checkout, upstream_url=upstream.base_url) as workspace:
        for block in page.blocks:
            if block.verb is not None:
                workspace.run(block)


@pytest.mark.parametrize("block", [b for b in _BLOCKS if b.language in RUNNABLE], ids=lambda block: block.place)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    assert block.verb or block.why_not, f"{block.place}: write '<!-- run: ... -->' or '<!-- not run: reason -->' above"


def test_json_blocks_are_json() -> None:
    for block in _BLOCKS:
        if block.language == "json":
            json.loads(block.text)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    for page in _PAGES:
        for target in re.findall(r"(?:^|`|&& )make ([a-z-]+)", page.text, re.MULTILINE):
            assert target in targets, f"{page.name}: there is no 'make {target}'"


def test_the_two_how_tos_of_adding_something_use_a_copy_of_the_packages() -> None:
    """A how-to that no longer changed a file would pass without showing anything."""
    for name, changed in (("add-a-vendor", "providers/catalog.toml"), ("add-a-dialect", "providers/acme.py")):
        page = Page(f"docs/how-to/{name}.md")
        assert page.needs_checkout
        assert changed in {block.argument for block in page.blocks if block.verb in ("file", "append")}
