"""Whatever bytes come in, loading answers with diagnostics; what comes out can be written down and read again."""

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from config.load import load_bytes
from config.schema import Config
from config.source import resolve

KINDS = ("mock", "openai")
EXAMPLE = (Path(__file__).parents[2] / "signalbox.example.yaml").read_bytes()

_yaml_pieces = st.lists(
    st.sampled_from(
        [
            *("providers:", "models:", "routes:", "rules:", "keys:", "policies:", "budgets:", "a:", "kind: mock", "- "),
            *(
                "\n",
                "\n  ",
                "\n    ",
                " ",
                "{",
                "}",
                "[",
                "]",
                ",",
                "'",
                '"',
                "&a ",
                "*a",
                "<<: ",
                "!!str ",
                "|\n",
                ">",
            ),
            *(
                "$",
                "$A",
                "${A}",
                "$$",
                "\t",
                "---\n",
                "# x\n",
                "null",
                "on",
                "1e9",
                ".nan",
                "0x",
                "\\ud800",
                "é",
                "\u2028",
            ),
        ]
    ),
    max_size=40,
).map("".join)

_keys = st.sampled_from(
    [
        *Config.model_fields,
        *("kind", "api_key", "base_url", "headers", "deployments", "provider", "model", "weight", "price", "quality"),
        *("strategy", "tiers", "pool", "fallbacks", "when", "use", "tier", "route", "input_tokens", "time", "regex"),
        *("limit_usd", "parent", "on_soft", "to", "name", "sha256", "timeouts", "retry", "cache", "exact", "a", "b"),
    ]
)

_json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=5),
    max_leaves=25,
)


def _load(data: bytes) -> Any:
    loaded = load_bytes(data, file="f.yaml", environ={"A": "value"}, known_kinds=KINDS)
    assert (loaded.config is None) == loaded.has_errors
    for diagnostic in loaded.diagnostics:
        text = diagnostic.to_text(colour=True)
        assert diagnostic.message in text
        assert "\n" not in diagnostic.message
        json.dumps(diagnostic.to_json())
        text.encode()
    return loaded


@given(st.binary(max_size=300))
@example(b"\xff\xfe\x00")
@example(b"\xef\xbb\xbfproviders: {}")
@example(b"\x00")
@example(b'a: "\\ud800"')
@example(b"%YAML 1.2\n---\n{}")
@example(b"? ")
@example(b"1: 2")
@example(b"null")
def test_any_bytes_give_diagnostics(data: bytes) -> None:
    _load(data)


@given(_yaml_pieces)
def test_any_text_gives_diagnostics(text: str) -> None:
    _load(text.encode())


@given(st.dictionaries(st.sampled_from(list(Config.model_fields)), _json_values))
def test_any_structure_gives_diagnostics(data: dict[str, Any]) -> None:
    _load(yaml.safe_dump(data, allow_unicode=True).encode())


@given(st.integers(0, len(EXAMPLE) - 1), st.integers(0, 30), st.binary(max_size=4))
def test_a_damaged_example_gives_diagnostics(start: int, removed: int, inserted: bytes) -> None:
    _load(EXAMPLE[:start] + inserted + EXAMPLE[start + removed :])


_names = st.from_regex(r"[a-z][a-z0-9.:-]{0,12}", fullmatch=True)
_ratios = st.floats(0, 1)


@st.composite
def _configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Valid files: names that fit together, values inside their ranges."""
    providers = draw(st.lists(_names, min_size=1, max_size=3, unique=True))
    names = draw(st.lists(_names, min_size=2, max_size=6, unique=True))
    cut = draw(st.integers(1, len(names) - 1))
    models, routes = names[:cut], names[cut:]
    # PyYAML writes `-.0` without quotes, which is a number in YAML 1.2.
    upstream_names = st.text("abc/-.:0 ", min_size=1, max_size=10).filter(lambda text: isinstance(resolve(text), str))
    deployments = st.lists(
        st.fixed_dictionaries(
            {"provider": st.sampled_from(providers), "model": upstream_names},
            optional={"weight": st.floats(0, 100) | st.integers(0, 9)},
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda row: (row["provider"], row["model"]),
    )
    one_model = st.fixed_dictionaries(
        {"deployments": deployments},
        optional={
            "quality": _ratios,
            "context_window": st.integers(1, 10**7),
            "capabilities": st.just(["text", "tools"]),
        },
    )
    pool = st.lists(st.sampled_from(models), min_size=1, max_size=4)
    route = st.fixed_dictionaries(
        {"strategy": st.sampled_from(["ordered", "weighted", "cheapest"]), "pool": pool},
        optional={"fallbacks": pool, "timeouts": st.fixed_dictionaries({"total_s": st.floats(0.1, 100)})},
    )
    return {
        "providers": {
            name: {"kind": draw(st.sampled_from(KINDS)), "note": draw(st.text("xyz", min_size=1))} for name in providers
        },
        "models": {name: draw(one_model) for name in models},
        "routes": {name: draw(route) for name in routes},
        "rules": [{"when": {"route": routes[0], "has_tools": draw(st.booleans())}, "use": models[0]}],
        "policies": {"hedge": {"enabled": draw(st.booleans())}, "retry": {"budget_ratio": draw(_ratios)}},
    }


@given(_configurations())
def test_a_configuration_survives_being_written_and_read(data: dict[str, Any]) -> None:
    once = _load(yaml.safe_dump(data, allow_unicode=True).encode()).config
    assert once is not None
    again = _load(json.dumps(once.model_dump(mode="json", exclude_unset=True)).encode()).config
    assert again == once


@given(
    st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789_-+/=", min_size=12, max_size=60), st.sampled_from(range(7))
)
def test_no_view_of_a_problem_shows_a_secret(secret: str, place: int) -> None:
    secret = f"Zq{secret}"
    text = [
        f"providers: {{openai: {{kind: opnai, api_key: {secret}}}}}",
        f"providers: {{openai: {{kind: openai, api_kye: {secret}, base_url: x}}}}",
        f"providers: {{openai: {{kind: openai, headers: {{Authorization: Bearer {secret}, 'bad name': x}}}}}}",
        f"providers:\n  openai: {{kind: openai, api_key: {secret}, base_url: [}}",
        f"keys: [{{name: a, sha256: '{secret}~', nam: x}}]",
        "providers: {openai: {kind: $A, api_key: $SECRET, base_url: $SECRET}}",
        f"providers: {{openai: {{kind: openai, base_url: 'ftp://user:{secret}@host/'}}}}",
    ][place]
    loaded = load_bytes(text.encode(), file="f.yaml", environ={"SECRET": secret}, known_kinds=KINDS)
    assert loaded.diagnostics
    for diagnostic in loaded.diagnostics:
        assert secret not in diagnostic.to_text() + json.dumps(diagnostic.to_json())
    assert secret not in repr(loaded)
