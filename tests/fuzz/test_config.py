"""Configuration files: whatever stands in them gives diagnostics, in time that grows with their size alone."""

from pathlib import Path

import pytest
from hypothesis import given

from config.load import load_bytes
from tests.fuzz.setup import damaged, fuzz, soon

EXAMPLE = (Path(__file__).parents[2] / "signalbox.example.yaml").read_bytes()
SMALL = b"providers: {up: {kind: openai, api_key: $A}}\nmodels: {m: {deployments: [{provider: up, model: m}]}}\n"
BASE = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
LAUGHS = BASE + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
MANY = 20_000


def load(data: bytes) -> None:
    loaded = load_bytes(data, file="f.yaml", environ={"A": "value"}, known_kinds=("openai", "mock"))
    assert loaded.config is not None or loaded.has_errors
    for diagnostic in loaded.diagnostics:
        assert diagnostic.message
        assert diagnostic.line is None or 1 <= diagnostic.line <= data.count(b"\n") + data.count(b"\r") + 2


@fuzz(25)
@given(damaged([EXAMPLE]))
def test_a_damaged_example_gives_diagnostics(data: bytes) -> None:
    load(data)


@fuzz(100)
@given(
    damaged([SMALL, LAUGHS[:200].encode(), b"routes: {auto: {pool: [m], rules: [{when: {regex: 'a+'}, use: m}]}}\n"])
)
def test_a_damaged_file_gives_diagnostics(data: bytes) -> None:
    load(data)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        LAUGHS.replace("[", "{k: ").replace("]", "}").replace(", ", ", k: "),
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "x: &x [1]\n" + "y: [" + "*x, " * MANY + "]\n",
        "<<: &m {a: 1}\n" + "<<: *m\n" * MANY,
        "[" * MANY,
        "{a: " * MANY,
        "- " * MANY,
        "? " * MANY,
        "".join(f"{' ' * n}a:\n" for n in range(500)),
        "models:\n" + "  m: {}\n" * MANY,
        "models: {" + ", ".join(f"m{n}: {{}}" for n in range(MANY // 10)) + "}",
        "routes: {auto: {pool: [" + ", ".join(f"nam{n}" for n in range(MANY // 10)) + "]}}",
        "a: '" + "''" * MANY,
        'a: "' + "\\x41" * MANY + '"',
        "a: |\n" + "  x\n" * MANY,
        "a: " + "9" * MANY,
        "a: " + "x " * MANY,
        "a: " + "$A" * MANY,
        "a: " + "${A:-" * 2000,
        "&a " * MANY,
        "!!python/object/apply:os.system ['true']",
        "--- {}\n" * MANY,
        "%TAG ! tag:x,2000:\n" * MANY,
        "#" * MANY + "\n" + "\t" * MANY,
        "\ufeff" * MANY,
        "a: " + "\u0301" * MANY,
    ],
    ids=lambda text: repr(text[:16]),
)
def test_a_file_of_one_pattern_gives_diagnostics_in_time(text: str) -> None:
    with soon():
        load(text.encode())
