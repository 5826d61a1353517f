"""The contract file loads; references, defaults and the file's place behave as documented."""

from pathlib import Path
from typing import Any

import pytest

from config.defaults import default_config
from config.inactive import inactive_sections
from config.load import MAX_FILE_BYTES, Loaded, find_file, load_bytes, load_path
from config.schema import Config

KINDS = ("anthropic", "gemini", "groq", "mock", "openai", "openai_compatible")
EXAMPLE = Path(__file__).parents[2] / "signalbox.example.yaml"
KEYS = dict.fromkeys(("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GROQ_API_KEY"), "k" * 20)
SMALL = "providers: {sim: {kind: mock}}\nmodels: {m: {deployments: [{provider: sim, model: m}]}}\n"


def _load(text: str, **environ: str) -> Loaded:
    return load_bytes(text.encode(), file="f.yaml", environ=environ, known_kinds=KINDS)


def _config(text: str, **environ: str) -> Config:
    loaded = _load(text, **environ)
    assert loaded.config is not None, [diagnostic.message for diagnostic in loaded.diagnostics]
    return loaded.config


def _severities(loaded: Loaded) -> set[str]:
    return {diagnostic.severity for diagnostic in loaded.diagnostics}


def test_the_example_is_the_contract(shared_dir: Path) -> None:
    assert EXAMPLE.read_bytes() == (shared_dir / "signalbox.example.yaml").read_bytes()


def test_the_example_loads_with_every_key_set() -> None:
    loaded = load_path(EXAMPLE, environ=KEYS, known_kinds=KINDS)
    assert loaded.config is not None
    assert _severities(loaded) == {"info"}
    assert loaded.disabled_providers == {}
    config = loaded.config
    assert config.providers["openai"].api_key == KEYS["OPENAI_API_KEY"]
    assert config.models["gpt-5-mini"].deployments[0].weight == 3
    assert config.routes["auto"].tiers["complex"] == ("claude-sonnet", "gpt-5-mini")
    assert config.policies.timeouts.total_s == 300
    assert config.rules[0].when.route == ("auto",)
    assert config.budgets["team-a"].on_soft is not None
    assert config.keys[0].models == ("auto", "frugal", "gpt-5-mini")


def test_the_example_loads_without_any_key() -> None:
    loaded = load_path(EXAMPLE, environ={}, known_kinds=KINDS)
    assert loaded.config is not None
    assert set(loaded.disabled_providers) == {"openai", "anthropic", "gemini", "groq"}
    assert loaded.disabled_providers["groq"] == "GROQ_API_KEY is not set"
    off = [deployment for model in loaded.config.models.values() for deployment in model.deployments]
    assert [loaded.is_disabled(deployment) for deployment in off] == [True, False, True, True, False]


def test_the_example_is_fully_active() -> None:
    loaded = load_path(EXAMPLE, environ=KEYS, known_kinds=KINDS)
    assert loaded.config is not None
    assert inactive_sections(loaded.config) == []
    assert [diagnostic for diagnostic in loaded.diagnostics if diagnostic.code == "inactive"] == []


def test_a_file_without_later_features_is_fully_active() -> None:
    assert inactive_sections(_config(SMALL + "routes: {r: {strategy: weighted, pool: [m]}}\n")) == []


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("$HOST", "a.example"),
        ("${HOST}", "a.example"),
        ("http://${HOST}:$PORT/v1", "http://a.example:80/v1"),
        ("$$HOST", "$HOST"),
        ("$$$$", "$$"),
        ("cost $ 5", "cost $ 5"),
        ("$5", "$5"),
        ("${not a name}", "${not a name}"),
    ],
)
def test_references(written: str, read: str) -> None:
    text = f"providers: {{p: {{kind: mock, note: '{written}'}}}}\n"
    assert _config(text, HOST="a.example", PORT="80").providers["p"].extra["note"] == read


def test_a_number_may_come_from_the_environment() -> None:
    config = _config(SMALL + "policies: {retry: {max_attempts: $N}, hedge: {enabled: '${ON}'}}\n", N="7", ON="true")
    assert config.policies.retry.max_attempts == 7
    assert config.policies.hedge.enabled is True


def test_a_key_that_is_digits_stays_text() -> None:
    assert (
        _config("providers: {p: {kind: mock, api_key: $K}}", K=" 1234567890\n").providers["p"].api_key == "1234567890"
    )


def test_an_empty_variable_counts_as_unset() -> None:
    assert "p" in _load("providers: {p: {kind: mock, api_key: $K}}", K="").disabled_providers


def test_a_value_of_the_environment_is_not_read_as_yaml_or_again() -> None:
    config = _config("providers: {p: {kind: mock, note: $A}}", A="$B, x: {y: 1}", B="b")
    assert config.providers["p"].extra["note"] == "$B, x: {y: 1}"


def test_words_looked_for_in_text_keep_their_dollar_signs() -> None:
    config = _config(SMALL + "rules: [{when: {keywords_any: [$PRICE], regex: '^a$|$B'}, use: m}]\n")
    assert config.rules[0].when.keywords_any == ("$PRICE",)
    assert config.rules[0].when.regex == "^a$|$B"


@pytest.mark.parametrize("word", ["on", "yes", "no", "off", "y", "2024-10-21", "1:30", "1_000", "=", "0b1"])
def test_yaml_1_1_has_no_say(word: str) -> None:
    assert _config(f"providers: {{p: {{kind: mock, note: {word}}}}}").providers["p"].extra["note"] == word


@pytest.mark.parametrize(
    ("written", "value"), [("true", True), ("False", False), ("0o17", 15), ("0x1F", 31), ("1e3", 1000.0), ("~", None)]
)
def test_yaml_1_2_core_schema(written: str, value: Any) -> None:
    assert _config(f"providers: {{p: {{kind: mock, note: {written}}}}}").providers["p"].extra["note"] == value


def test_keys_are_text_whatever_they_look_like() -> None:
    text = SMALL + "routes: {on: {pool: [m]}, 3.5: {pool: [m]}, null: {pool: [m]}}\n"
    assert list(_config(text).routes) == ["on", "3.5", "null"]


def test_an_alias_repeats_a_value() -> None:
    config = _config(SMALL + "limits: {a: &a {concurrency: 5}, b: *a}\n")
    assert config.limits["b"].concurrency == 5


def test_a_section_without_entries_may_be_left_empty() -> None:
    assert _config(SMALL + "routes:\nkeys:\n").routes == {}


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 12)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        "a: &a '" + "x" * 100_000 + "'\nb: [" + ", ".join(["*a"] * 1000) + "]\n",
        "".join(f"a{i}: &a{i} {'[' * 40}{f'*a{i - 1}' if i else 1}{']' * 40}\n" for i in range(100)),
        "[" * 100_000,
        "- " * 5_000,
        "{a: " * 5_000,
    ],
    ids=["aliases", "text", "depth-by-alias", "brackets", "dashes", "braces"],
)
def test_bombs_are_refused(text: str) -> None:
    loaded = _load(text)
    assert [diagnostic.code for diagnostic in loaded.diagnostics] in (["too-large"], ["too-deep"])


def test_a_huge_file_is_refused() -> None:
    assert [d.code for d in _load("#" * (MAX_FILE_BYTES + 1)).diagnostics] == ["too-large"]


def test_text_that_is_not_utf8_is_placed() -> None:
    loaded = load_bytes(b"a: 1\nb: \xe9\n", file="f.yaml", environ={}, known_kinds=KINDS)
    assert [(d.code, d.line, d.column) for d in loaded.diagnostics] == [("encoding", 2, 4)]


def test_many_problems_are_counted_not_all_shown() -> None:
    loaded = _load("\n".join(f"key{i}: 1" for i in range(500)))
    assert len(loaded.diagnostics) < 250
    assert loaded.diagnostics[-1].code == "more"
    assert loaded.config is None


def test_a_hopeless_file_is_answered_at_once() -> None:
    """Tens of thousands of mistakes cost little more than a few hundred."""
    loaded = _load(SMALL + "routes: {r: {pool: [" + "1, " * 50_000 + "1]}}\n")
    assert loaded.diagnostics[0].code == "wrong-type"


def test_an_unreadable_file_is_a_diagnostic(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        loaded = load_path(path, environ={}, known_kinds=KINDS)
        assert [diagnostic.code for diagnostic in loaded.diagnostics] == ["unreadable-file"]


def test_secrets_are_in_no_repr() -> None:
    text = "providers: {p: {kind: mock, api_key: $K, headers: {X-A: $K}, token: $K}}\n"
    loaded = _load(text, K="canary-value-1")
    assert loaded.config is not None
    assert "canary" not in repr(loaded)
    assert "canary" not in str(loaded.config.providers["p"])


def test_digests_are_compared_in_lower_case() -> None:
    assert _config(SMALL + f"keys: [{{name: a, sha256: {'AB' * 32}}}]\n").keys[0].sha256 == "ab" * 32


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    assert find_file(None, {}, tmp_path) is None
    (tmp_path / "signalbox.yaml").touch()
    assert find_file(None, {}, tmp_path) == tmp_path / "signalbox.yaml"
    assert find_file(None, {"SIGNALBOX_CONFIG": "/b"}, tmp_path) == Path("/b")
    assert find_file("/a", {"SIGNALBOX_CONFIG": "/b"}, tmp_path) == Path("/a")


ENV_KEYS = {
    "openai": "OPENAI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY",
    "groq": "GROQ_API_KEY",
}


def test_without_keys_the_defaults_are_the_mock() -> None:
    loaded = default_config({}, env_keys=ENV_KEYS)
    assert loaded.config is not None
    assert list(loaded.config.providers) == ["sim"]
    assert set(loaded.config.routes["auto"].tiers.values()) == {("mock-model",)}


def test_keys_in_the_environment_bring_their_models() -> None:
    environ = {"OPENAI_API_KEY": "a", "GOOGLE_API_KEY": "b", "AZURE_OPENAI_API_KEY": "c", "GROQ_API_KEY": ""}
    urls = {"openai": "https://a/v1", "gemini": "https://b", "groq": "https://c", "azure": "https://{resource}/"}
    loaded = default_config(environ, env_keys=ENV_KEYS, base_urls=urls)
    assert loaded.config is not None
    assert list(loaded.config.providers) == ["gemini", "openai", "sim"]
    assert loaded.config.providers["gemini"].api_key == "b"
    assert loaded.config.routes["auto"].tiers == {
        "simple": ("gpt-5-nano", "gemini-2.5-flash"),
        "medium": ("gpt-5-mini", "gemini-2.5-flash"),
        "complex": ("gpt-5", "gemini-2.5-pro"),
    }


def test_the_defaults_are_a_valid_file() -> None:
    every = default_config(dict.fromkeys(ENV_KEYS.values(), "x"), env_keys=ENV_KEYS).config
    assert every is not None
    text = every.model_dump_json(exclude_unset=True).encode()
    assert not load_bytes(text, file="f.yaml", environ={}, known_kinds=[*KINDS, "azure"]).has_errors


def test_the_default_models_have_prices() -> None:
    import tomllib
    from datetime import UTC, datetime

    import config.defaults
    from providers import pricing
    from providers.catalog import vendors

    table = tomllib.loads(Path(config.defaults.__file__).with_name("defaults.toml").read_text("utf-8"))
    for kind, models in table["models"].items():
        url = vendors()[kind].base_url if kind in vendors() else None
        for model in models:
            assert pricing.resolve(kind, model, now=datetime(2026, 11, 1, tzinfo=UTC), base_url=url) is not None, model
    known = {model for models in table["models"].values() for model in models}
    # A kind alone has something in every tier, so the mock never stands in for it.
    for order in table["route"]["tiers"].values():
        assert set(order) <= known
        assert all(set(order) & set(models) for models in table["models"].values())
