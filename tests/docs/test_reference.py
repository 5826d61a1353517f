"""The reference is complete: whatever can be configured, measured, refused or sent is named in it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from config.json_schema import json_schema
from config.settings import PREFIX, Settings
from gateway.cli.main import signalbox
from gateway.telemetry import logs
from providers import registry
from providers.mock import MISBEHAVIOURS
from tests.docs.generated import SECTIONS, written
from tests.docs.pages import ROOT, Page, pages, reference_text

_HEADER = re.compile(rb"\b(x-signalbox-[a-z-]+|x-request-id|x-should-retry|retry-after(?:-ms)?|x-accel-buffering)\b")


@pytest.mark.parametrize("page", [p for p in pages() if "<!-- generated:" in p.text], ids=lambda page: page.name)
def test_generated_parts_are_up_to_date(page: Page) -> None:
    assert page.text == written(page), "run: .venv/bin/python -m tests.docs.generated"


def test_every_generated_part_stands_somewhere() -> None:
    used = set(re.findall(r"<!-- generated: ([\w-]+) -->", "".join(page.text for page in pages())))
    assert used == set(SECTIONS)


def test_every_configuration_key_is_named() -> None:
    """Independently of what generates the page: each key of each section of the schema."""
    schema = json_schema(registry.kinds())
    text = Page("docs/reference/configuration.md").text
    for section in (schema, *schema["$defs"].values()):
        for key in section.get("properties", {}):
            assert f"| `{key}` |" in text, f"{section['title']}.{key}"


def test_every_series_is_named() -> None:
    text = Page("docs/reference/metrics.md").text
    names = re.findall(r'"(signalbox_[a-z_]+)"', (ROOT / "gateway/telemetry/metrics.py").read_text())
    assert len(names) > 10
    for name in names:
        assert f"`{name}`" in text


def test_every_command_and_option_is_named() -> None:
    text = Page("docs/reference/commands.md").text
    context = click.Context(signalbox)
    for name in signalbox.list_commands(context):
        command = signalbox.get_command(context, name)
        assert f"## `signalbox {name}`" in text
        assert command is not None
        for parameter in command.params:
            assert any(option in text for option in parameter.opts if option.startswith("-")) or not isinstance(
                parameter, click.Option
            )


def test_every_setting_is_named() -> None:
    text = reference_text()
    for name in Settings.model_fields:
        assert f"`{PREFIX}{name.upper()}`" in text


def test_every_header_is_named() -> None:
    text = Page("docs/reference/headers.md").text
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        for header in set(_HEADER.findall(file.read_bytes())):
            assert f"`{header.decode()}`" in text, f"{file.relative_to(ROOT)} knows {header.decode()}"


def test_every_error_code_is_named() -> None:
    text = Page("docs/reference/errors.md").text
    for reason in _reasons():
        assert f"`{reason}`" in text, reason


def _reasons() -> Iterator[str]:
    """First arguments of `_refused` and `RefusedError`, reasons counted by hand, and the codes of answers.py."""
    for file in sorted((ROOT / "gateway").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            at = {"_refused": 0, "RefusedError": 0, "record_refusal": 1, "error_object": 3, "AdminError": 1}.get(name)
            if at is not None and len(node.args) > at:
                yield from (
                    one.value
                    for one in ast.walk(node.args[at])
                    if isinstance(one, ast.Constant) and isinstance(one.value, str) and "{" not in one.value
                    and one.value != "provider_"
                )  # fmt: skip


def test_every_kind_is_named() -> None:
    text = Page("docs/reference/providers.md").text
    for kind in registry.kinds():
        assert f"`{kind}`" in text


def test_options_of_kinds_are_named() -> None:
    """Keys that a dialect reads from its row beyond the ones every provider has."""
    text = Page("docs/reference/providers.md").text + Page("docs/reference/mock.md").text
    for file in sorted((ROOT / "providers").glob("*.py")):
        for key in re.findall(r"""\.extra(?:\.get\(|\[)["'](\w+)["']""", file.read_text()):
            assert f"`{key}`" in text, f"{file.name} reads '{key}'"


def test_every_mock_name_is_described() -> None:
    text = Page("docs/reference/mock.md").text
    for name in MISBEHAVIOURS:
        assert f"| `mock/{name}` |" in text


def test_every_field_of_the_log_line_is_named() -> None:
    text = Page("docs/reference/log.md").text
    source = Path(logs.__file__).read_text()
    for function in ("request_fields", "_attempt_fields"):
        body = source[source.index(f"def {function}") :].split("\n\n\n")[0]
        for field in re.findall(r'(?:^\s+|\{|, |\[)"(\w+)"(?::|\])', body, re.MULTILINE):
            assert f"`{field}`" in text, field


def test_every_decision_and_how_to_is_in_its_index() -> None:
    index = Page("docs/decisions/README.md").text
    for file in sorted((ROOT / "docs/decisions").glob("0*.md")):
        assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", file.name)
        assert f"({file.name})" in index


def test_every_runtime_dependency_has_a_reason() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") :].split("]\n")[0]
    page = next(page for page in pages() if page.name.endswith("-runtime-dependencies.md"))
    for name in re.findall(r'"([A-Za-z0-9_-]+)', block):
        assert f"| `{name.lower()}` |" in page.text, name
