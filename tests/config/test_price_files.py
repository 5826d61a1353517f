"""Price files beside the configuration: what they may hold, and what is said where they are wrong."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from config.load import Loaded, load_bytes

GOOD = {
    "gpt-x": {"input_usd_per_mtok": 0.1, "output_usd_per_mtok": 4, "search_usd": 0.01},
    "sample_spec": {"input_cost_per_token": "one of everything"},
    "gpt-y": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-07, "output_cost_per_token": 0},
    "dall-e": {"litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 0.04},
    "search": {"litellm_provider": "exa", "mode": "search", "tiered_pricing": [{"max_results_range": [0, 25]}]},
}


def load(folder: Path, content: object, name: str = "prices.json") -> Loaded:
    data = content if isinstance(content, bytes) else json.dumps(content, indent=2).encode()
    (folder / name).write_bytes(data)
    return load_text(folder, "price_files: [./prices.json]\n")


def load_text(folder: Path, text: str) -> Loaded:
    return load_bytes(text.encode(), file=str(folder / "signalbox.yaml"), environ={}, known_kinds=())


def errors(loaded: Loaded) -> list[tuple[str, int | None, str]]:
    found = [d for d in loaded.diagnostics if d.severity == "error"]
    assert (loaded.config is None) == bool(found)
    return [(Path(d.file).name, d.line, d.message) for d in found]


def test_a_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    loaded = load(tmp_path, GOOD)
    assert errors(loaded) == []
    (file,) = loaded.price_files
    assert file.path == tmp_path / "prices.json"
    assert "sample_spec" not in file.entries
    assert file.entries["gpt-x"]["input_usd_per_mtok"] == Decimal("0.1")  # not the nearest binary number
    assert not file.has_changed()


def test_a_file_knows_when_it_is_another_one(tmp_path: Path) -> None:
    (file,) = load(tmp_path, GOOD).price_files
    (tmp_path / "prices.json").write_text("{}")
    assert file.has_changed()
    (tmp_path / "prices.json").unlink()
    assert file.has_changed()


def test_files_keep_their_order(tmp_path: Path) -> None:
    for name in ("b.json", "a.json"):
        (tmp_path / name).write_text("{}")
    loaded = load_text(tmp_path, "price_files: [b.json, a.json]\n")
    assert [file.path.name for file in loaded.price_files] == ["b.json", "a.json"]


def test_a_file_that_is_not_there_is_said_where_it_is_named(tmp_path: Path) -> None:
    loaded = load_text(tmp_path, "models: {}\nprice_files:\n  - nowhere.json\n")
    ((name, line, message),) = errors(loaded)
    assert (name, line) == ("signalbox.yaml", 3)
    assert message == "Cannot read the price file 'nowhere.json': No such file or directory."


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b'{\n  "a": {,}\n}', 2, "The price file is not JSON: Expecting property name enclosed in double quotes."),
        (b"\xff\xfe", None, "The price file is not UTF-8."),
        (b"[" * 100_000, None, "The price file is nested too deep."),
        ([1], 1, "The price file must be an object of models."),
        ({"a": 1}, 2, "Model 'a': the entry must be an object."),
        ({"a": {"input_usd_per_mtok": 1}}, 2,
         "Model 'a': the entry needs 'output_usd_per_mtok' (0 if it costs nothing)."),
        ({"a": {"input_usd_per_token": 1}}, 3, "Model 'a': unknown key 'input_usd_per_token'."),
        (
            {"z": {"mode": "chat", "litellm_provider": "x", "input_cost_per_token": 1},
             "a": {"litellm_provider": "x", "input_cost_per_token": "1e-6"}},
            9,
            "Model 'a': 'input_cost_per_token' must be zero or a positive amount in US dollars, not \"1e-6\".",
        ),
        (
            {"a": {"mode": "chat", "output_cost_per_token": -1}},
            4,
            "Model 'a': 'output_cost_per_token' must be zero or a positive amount in US dollars, not -1.",
        ),
        (
            {"a": {"mode": "chat", "search_context_cost_per_query": {"search_context_size_low": True}}},
            5,
            "Model 'a': 'search_context_size_low' must be zero or a positive amount in US dollars, not true.",
        ),
        (
            b'{"a": {"mode": "chat", "input_cost_per_token": NaN}}',
            1,
            "Model 'a': 'input_cost_per_token' must be zero or a positive amount in US dollars, not NaN.",
        ),
        (
            {"a": {"mode": "chat", "tiered_pricing": [{"range": [0], "input_cost_per_token": 1}]}},
            6,
            "Model 'a': 'range' must be two numbers of tokens.",
        ),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_said_with_its_line(
    tmp_path: Path, content: object, line: int | None, message: str
) -> None:
    assert errors(load(tmp_path, content)) == [("prices.json", line, message)]


def test_a_number_in_quotes_is_explained(tmp_path: Path) -> None:
    loaded = load(tmp_path, {"a": {"mode": "chat", "input_cost_per_token": "1e-6"}})
    assert loaded.diagnostics[0].hint == "Write the number without quotes."


def test_a_thousand_mistakes_are_not_a_thousand_messages(tmp_path: Path) -> None:
    found = errors(
        load(tmp_path, {f"m{n}": {"input_usd_per_mtok": -1, "output_usd_per_mtok": 1} for n in range(1_000)})
    )
    assert len(found) == 21
