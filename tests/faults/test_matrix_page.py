"""The page that promises all this says exactly what is tested, in the words of the metrics there are."""

import ast
import re
from pathlib import Path

from tests.docs.pages import ROOT, Page

PAGE = Page("docs/reference/fault-matrix.md")
_ROW = re.compile(r"^\| (\d+) \|(.*)\|$", re.MULTILINE)
_TEST = re.compile(r"test_row_(\d\d)_\w+")


def rows() -> dict[int, list[str]]:
    """Number -> fault, what the client sees, what moves, state."""
    return {int(found[1]): [cell.strip() for cell in found[2].split(" |")] for found in _ROW.finditer(PAGE.text)}


def rows_of_tests() -> set[int]:
    """The numbers in the names of the tests beside this one."""
    names = [
        node.name
        for path in Path(__file__).parent.glob("test_*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
    ]
    return {int(found[1]) for name in names if (found := _TEST.fullmatch(name))}


def test_the_page_has_every_row_once() -> None:
    assert [int(number) for number, _ in _ROW.findall(PAGE.text)] == list(range(1, 40))
    for fault, client, _, _ in rows().values():
        assert fault
        assert client


def test_the_state_of_a_row_is_what_the_tests_say() -> None:
    promised = {number for number, cells in rows().items() if cells[3] == "tested"}
    assert promised == rows_of_tests()
    assert promised == set(rows())


def test_what_moves_exists() -> None:
    reference = Page("docs/reference/metrics.md").text
    named = {name for cells in rows().values() for name in re.findall(r"signalbox_\w+", cells[2])}
    assert len(named) > 10
    assert {name for name in named if f"`{name}`" not in reference} == set()


def test_series_that_the_tests_read_are_on_the_page() -> None:
    """A row's series are asserted on, not only written down."""
    named = {name for cells in rows().values() for name in re.findall(r"signalbox_\w+", cells[2])}
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "tests/faults").glob("test_*.py"))
    assert {name for name in named if f'"{name}' not in sources} == set()
