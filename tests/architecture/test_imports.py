"""Who may import what: layers between packages, and one home for each library."""

import ast
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGES, ROOT, all_files, imported, module_of, name_of, nodes, own_files, top

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# A library's home. Everything else reaches it through what stands there, so that it can be exchanged in one place.
_HOMES: dict[str, tuple[str, ...]] = {
    "aiohappyeyeballs": ("providers/pool.py",),
    "certifi": ("providers/transport.py",),
    "click": ("gateway/cli/*.py",),
    "fastapi": ("gateway/admin/*.py",),
    "genai_prices": ("providers/price_lists.py",),
    "httptools": ("gateway/connection.py", "providers/http1.py"),
    "openai": ("gateway/demo/*.py",),
    "pyarrow": ("gateway/cli/spend.py",),
    "prometheus_client": (
        "gateway/telemetry/*.py",
        "gateway/api/prometheus.py",
        "gateway/serve.py",
        "gateway/supervisor.py",
    ),
    "pybreaker": ("policies/breaker.py",),
    "pydantic": (
        "config/*.py",
        "gateway/admin/*.py",
        "gateway/demo/*.py",
        "gateway/keys/record.py",
        "gateway/cli/key*.py",
    ),
    "pydantic_settings": ("config/settings.py",),
    "re2": ("config/patterns.py",),
    # Spending, keys, and what replicas tell each other.
    "redis": (
        "policies/stores/*.py",
        "gateway/keys/redis_store.py",
        "gateway/hints.py",
        "gateway/caching/shared_*.py",
    ),
    "rich": ("gateway/demo/*.py", "gateway/cli/*.py"),
    "starlette": ("gateway/admin/*.py",),
    "tiktoken": ("providers/tokens.py",),
    "uvicorn": ("gateway/server.py", "gateway/connection.py", "gateway/http_exchange.py"),
    "uvloop": ("gateway/serve.py",),
    "watchfiles": ("gateway/reload.py",),
    "yaml": ("config/*.py",),
}
# Of the standard library: what reaches outside the process, or makes a result depend on when and where it runs.
_STANDARD_HOMES: dict[str, tuple[str, ...]] = {
    "subprocess": ("gateway/supervisor.py", "gateway/demo/processes.py"),
    "sqlite3": ("policies/stores/*.py", "gateway/keys/sqlite_store.py"),
    "pickle": (),
    "requests": (),
    "unittest": (),
    "urllib.request": ("gateway/demo/*.py",),
    "http.client": (),
    "shelve": (),
    "marshal": (),
}


def _strangers(library: str, homes: tuple[str, ...]) -> list[str]:
    return [
        name_of(path)
        for path in own_files()
        if any(module == library or module.startswith(f"{library}.") for module in imported(path))
        and not any(fnmatch(name_of(path), home) for home in homes)
    ]


@pytest.mark.parametrize("library", _HOMES)
def test_a_library_is_imported_in_its_home_only(library: str) -> None:
    assert _strangers(library, _HOMES[library]) == []


@pytest.mark.parametrize("module", _STANDARD_HOMES)
def test_what_reaches_outside_stays_in_its_place(module: str) -> None:
    assert _strangers(module, _STANDARD_HOMES[module]) == []


def test_layers_are_kept() -> None:
    """The contracts of pyproject.toml, as `make check` runs them."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([str(program), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_layers_name_every_package() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    wheel = tool["hatch"]["build"]["targets"]["wheel"]["packages"]
    (layers,) = [contract["layers"] for contract in tool["importlinter"]["contracts"] if contract["type"] == "layers"]
    everything = sorted(PACKAGES)
    assert sorted(wheel) == sorted(layers) == sorted(tool["importlinter"]["root_packages"]) == everything
    assert sorted(tool["mypy"]["packages"]) == sorted(tool["coverage"]["run"]["source"]) == everything
    assert layers == ["gateway", "policies", "routing", "providers", "config"]


def test_the_product_knows_nothing_of_its_tests() -> None:
    assert [name_of(path) for path in own_files() if {"tests", "benchmarks"} & {top(m) for m in imported(path)}] == []


def _of_extras(path: Path) -> set[str]:
    """What an extra brings to the files it is for: those of its name, training also writes reports, spend Parquet."""
    parts = {*path.relative_to(ROOT).with_suffix("").parts}
    extras = parts & {"demo", "learned", "semantic", "train"}
    if "train" in extras:
        extras.add("learned")
    if "spend" in parts:
        extras.add("parquet")
    wanted = _PROJECT["optional-dependencies"]
    return {_plain(text) for extra in extras for text in wanted[extra]}


def test_every_library_is_a_declared_dependency() -> None:
    """What comes along with something else may go away with it."""
    distributions = packages_distributions()
    declared = {_plain(text) for text in _PROJECT["dependencies"]}
    declared.add("pydantic-core")  # a part of pydantic, which pins its version and documents it as its own
    undeclared = {
        (name_of(path), library)
        for path in own_files()
        for library in {top(module) for module in imported(path)} - set(PACKAGES) - sys.stdlib_module_names
        if not {_plain(name) for name in distributions.get(library, [library])} & (declared | _of_extras(path))
    }
    assert undeclared == set()


def _plain(requirement: str) -> str:
    name = requirement
    for end in "[<>=!;~ ":
        name = name.partition(end)[0]
    return name.lower().replace("_", "-")


_MOCKS = "unittest.mock", "mock", "pytest_mock"
# Reading text is much cheaper than parsing it. Whatever imports one of them, or relatively, matches: a statement, its
# continued lines included, names `mock`, or the file has one of the other words.
_MAY_MOCK = re.compile(
    r"\b(?:unittest|pytest_mock)\b|\b(?:import|from)\b(?:[^\n\\]|\\\n)*\bmock\b|\bfrom(?:[ \t]|\\\n)*\."
)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "import mock",
            "import sys, mock",
            "import sys, \\\n    mock",
            "import pytest_mock as m",
            "x = 1; import mock",
        ),
        *("from mock import patch", "from unittest import mock", "from unittest import (\n    mock,\n)"),
        *("import unittest.mock", "from unittest.mock import Mock", "def f():\n    import mock", "from . import mock"),
        *("from .sources import tree", "from\\\n .sources import tree"),
    ],
)
def test_every_way_to_import_a_mock_is_seen(text: str) -> None:
    assert _MAY_MOCK.search(text)


def test_our_own_code_is_never_mocked() -> None:
    users = [
        name_of(path)
        for path in all_files()
        if path.suffix == ".py"
        and _MAY_MOCK.search(path.read_text("utf-8"))
        and any(module in _MOCKS for module in imported(path))
    ]
    assert users == []


_CLOCKS = {
    *("time", "monotonic", "perf_counter", "process_time", "time_ns", "monotonic_ns", "perf_counter_ns"),
    *("now", "utcnow", "today"),
}


# A connection pool lives with the event loop's time: what it forgets is tested with real connections. Who waits for
# other processes waits in real time: tested with real processes.
_TELLS_TIME = (
    "providers/http1.py",
    "providers/pool.py",
    "policies/stores/locks.py",
    "policies/stores/sqlite_shared.py",
)
# They choose names that no other process has. Nothing else depends on these.
_NAMES_AT_RANDOM = (
    "policies/stores/redis.py",
    "policies/stores/redis_journal.py",
    "policies/stores/shares.py",
    "policies/stores/sqlite_shared.py",
)


def _calls(path: Path) -> list[tuple[int, str, str]]:
    """Line, module and function of every call of a function of a module, as `time.time()` or `time()`."""
    modules = set(imported(path))
    found = []
    for node in nodes(path):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            found.append((called.lineno, called.value.id, called.attr))
        elif isinstance(called, ast.Name):
            origins = (module for module in ("time", "random") if f"{module}.{called.id}" in modules)
            found += [(called.lineno, module, called.id) for module in origins]
    return found


@pytest.mark.parametrize("package", ["config", "routing", "policies", "providers"])
def test_time_and_randomness_are_arguments(package: str) -> None:
    """Passing `time.monotonic` on as a default is fine; calling it is not."""
    found = [
        f"{name_of(path)}:{line}: {where}.{what}()"
        for path in own_files()
        if module_of(path).startswith(f"{package}.")
        for line, where, what in _calls(path)
        if (where in ("time", "datetime") and what in _CLOCKS and name_of(path) not in _TELLS_TIME)
        or (where == "random" and what != "Random")
        or (where in ("secrets", "uuid") and where in imported(path) and name_of(path) not in _NAMES_AT_RANDOM)
    ]
    assert found == []


def test_the_environment_is_read_at_the_edge() -> None:
    readers = [
        name_of(path)
        for path in own_files()
        if any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv") and _is_named(node.value, "os")
            for node in nodes(path)
        )
    ]
    homes = ("gateway/cli/*.py", "gateway/supervisor.py", "gateway/demo/*.py", "config/settings.py")
    assert [name for name in readers if not any(fnmatch(name, home) for home in homes)] == []


def _is_named(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def test_tasks_belong_to_somebody() -> None:
    """A bare task is lost when it fails, and lives on when what started it has ended."""
    # Each of them waits for its tasks (`hints` in a group of them), or looks at how they ended.
    homes = (
        "gateway/serve.py",
        "gateway/connection.py",
        "gateway/race.py",
        "gateway/hints.py",
        "gateway/caching/leading.py",  # the call is waited for by whoever needs it, and ends with the last of them
        "gateway/caching/flight.py",
        "gateway/caching/semantic/vectors.py",  # whoever wants the vector waits for it, and it ends in time
        "gateway/caching/shared.py",  # in a group of them, and look-ups that whoever asks waits for
        "policies/stores/redis_queue.py",
    )
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in own_files()
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("create_task", "ensure_future")
        and name_of(path) not in homes
    ]
    assert found == []


def test_nothing_evaluates_text_as_code() -> None:
    found = [
        f"{name_of(path)}:{node.lineno}"
        for path in own_files()
        for node in nodes(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("eval", "exec", "compile")
    ]
    assert found == []
