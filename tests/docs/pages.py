"""The documentation as data: pages, their fenced blocks, and what a comment above a block says a test does with it.

`<!-- run: VERB ARGUMENTS -->` above a block has it executed by tests/docs/test_pages.py; `<!-- not run: REASON -->`
says why it is not. Between `<!-- generated: NAME -->` and `<!-- end -->` stands what tests/docs/generated.py writes.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(`{3,})(\w*)[^\n`]*\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_DIRECTIVE = re.compile(r"<!-- (run|not run): *([^\n]*?) *-->\s*\Z")
# What a reader could copy and run; anything else is output, a drawing or a fragment.
RUNNABLE = frozenset({"sh", "yaml", "python", "js", "toml"})


@dataclass(frozen=True)
class Block:
    """One fenced block. `verb` is None where a test leaves it alone; `why_not` is the reason that is given for it."""

    page: "Page"
    line: int
    language: str
    text: str
    verb: str | None = None
    argument: str = ""
    why_not: str | None = None

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Page:
    """One Markdown file. `name` is its path from the root of the repository."""

    name: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def blocks(self) -> list[Block]:
        text = self.text
        return [self._block(text, found) for found in _FENCE.finditer(text)]

    @property
    def prose(self) -> str:
        """The text without its blocks."""
        return _FENCE.sub("", self.text)

    @property
    def needs_checkout(self) -> bool:
        """Whether its blocks change the packages themselves, so that they get a copy of them."""
        return "<!-- workspace: checkout -->" in self.text

    def _block(self, text: str, found: re.Match[str]) -> Block:
        line = text.count("\n", 0, found.start()) + 1
        directive = _DIRECTIVE.search(text[: found.start()])
        if directive is None:
            return Block(self, line, found[2], found[3])
        if directive[1] == "not run":
            return Block(self, line, found[2], found[3], why_not=directive[2])
        verb, _, argument = directive[2].partition(" ")
        return Block(self, line, found[2], found[3], verb, argument)


def pages() -> list[Page]:
    """README.md, CHANGELOG.md and everything under docs/."""
    files = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [Page(file.relative_to(ROOT).as_posix()) for file in files]


def reference_text() -> str:
    """All of docs/reference, where everything has to be named."""
    return "\n".join(page.text for page in pages() if page.name.startswith("docs/reference/"))
