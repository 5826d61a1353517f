"""One new provider, strategy, command or endpoint is one new file: nothing lists them, everything finds them."""

import ast
import re
from collections import Counter
from pathlib import Path
from typing import get_args

import click
import pytest

from config.schema_routes import Strategy
from gateway.api.endpoint import Guard, endpoints
from gateway.cli.main import Commands
from providers import registry
from providers.catalog import vendors
from routing.strategies.registry import strategies
from tests.architecture.sources import ROOT, imported, module_of, name_of, own_files, tree


def _functions(path: Path) -> set[str]:
    return {node.name for node in tree(path).body if isinstance(node, ast.FunctionDef)}


def _assigned(path: Path) -> dict[str, ast.expr]:
    return {
        target.id: node.value
        for node in tree(path).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


_DIALECTS = sorted(path for path in (ROOT / "providers").glob("*.py") if "KIND" in _assigned(path))


def test_there_are_dialects() -> None:
    assert {path.stem for path in _DIALECTS} >= {"openai", "azure", "anthropic", "gemini", "mock", "openai_compatible"}


@pytest.mark.parametrize("path", _DIALECTS, ids=lambda path: path.stem)
def test_a_dialect_is_found_by_its_kind(path: Path) -> None:
    kind = _assigned(path)["KIND"]
    assert isinstance(kind, ast.Constant)
    assert kind.value in registry.kinds()
    assert "build" in _functions(path)


def test_kinds_are_unique() -> None:
    kinds = [ast.literal_eval(_assigned(path)["KIND"]) for path in _DIALECTS]
    assert [kind for kind, count in Counter([*kinds, *vendors()]).items() if count > 1] == []


def test_nothing_outside_knows_a_dialect() -> None:
    """Neither the gateway nor the inner packages import one by name: the registry does, when it is configured."""
    dialects = {module_of(path) for path in _DIALECTS}
    found = [
        (name_of(path), module)
        for path in own_files()
        if not name_of(path).startswith("providers/")
        for module in imported(path)
        if module in dialects
    ]
    assert found == []


def test_private_modules_of_a_dialect_are_its_own() -> None:
    """`_anthropic_*` serves `anthropic.py`: another dialect that needs a part of it needs a shared module."""
    families = {path.stem for path in _DIALECTS}
    found = []
    for path in own_files():
        for module in imported(path):
            private = re.fullmatch(r"providers\._([a-z]+)_\w+", module)
            if private is None or private[1] not in families:
                continue
            if path.parent.name != "providers" or not path.stem.lstrip("_").startswith(private[1]):
                found.append((name_of(path), module))
    assert found == []


def test_every_strategy_file_is_found_and_can_be_configured() -> None:
    files = {path.stem for path in (ROOT / "routing/strategies").glob("*.py")} - {"__init__", "registry"}
    assert set(strategies()) == files
    assert files <= set(get_args(Strategy))


def test_every_command_file_is_found() -> None:
    commands = Commands("signalbox")
    context = click.Context(commands)
    files = {
        path.stem.replace("_", "-")
        for path in (ROOT / "gateway/cli").glob("*.py")
        if path.stem != "main" and ("command" in _functions(path) or "command" in _assigned(path))
    }
    assert set(commands.list_commands(context)) == files
    for name in files:
        command = commands.get_command(context, name)
        assert command is not None
        assert command.help, f"'{name}' has no help text"


_ENDPOINTS = endpoints()


@pytest.mark.parametrize("endpoint", _ENDPOINTS, ids=lambda endpoint: endpoint.paths[0])
def test_every_endpoint_declares_who_may_call(endpoint) -> None:
    assert endpoint.guard in get_args(Guard)
    assert endpoint.methods
    assert endpoint.summary.endswith(".")
    is_traffic = any(path.startswith("/v1") for path in endpoint.paths)
    assert (endpoint.guard == "caller") == is_traffic, "traffic needs a key, and only traffic does"


def test_every_endpoint_file_is_found() -> None:
    files = {path.stem for path in (ROOT / "gateway/api").glob("*.py") if "ENDPOINT" in _assigned(path)}
    assert {endpoint.handle.__module__.rpartition(".")[2] for endpoint in _ENDPOINTS} == files


def test_no_path_belongs_to_two_endpoints() -> None:
    paths = Counter((path, method) for e in _ENDPOINTS for path in e.paths for method in e.methods)
    assert [pair for pair, count in paths.items() if count > 1] == []
