"""`signalbox explain` as a person and a program meet it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli.main import signalbox
from tests.routing.scene import EASY, HARD, model

CONFIG: dict[str, Any] = {
    "providers": {"sim": {"kind": "mock"}, "openai": {"kind": "openai", "api_key": "$OPENAI_API_KEY"}},
    "models": {
        "small": model("s", price=(0.1, 0.4)),
        "large": model("l", price=(3, 15)),
        "paid": model("gpt-5-mini", provider="openai"),
    },
    "routes": {
        "auto": {"strategy": "complexity", "tiers": {"simple": ["small"], "complex": ["large"]}},
        "lottery": {"strategy": "weighted", "pool": ["small", "large"]},
        "taught": {"strategy": "learned", "pool": ["small", "large", "paid"], "router_file": "./taught.router"},
        "dear": {"pool": ["paid"]},
    },
    "rules": [{"name": "gold", "when": {"tags": ["gold"]}, "use": "large"}],
    "keys": [{"name": "ann", "sha256": "9" * 64, "candidates": ["small"]}],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("SIGNALBOX_CONFIG", raising=False)
    write(tmp_path, CONFIG)
    return tmp_path


def write(folder: Path, config: Mapping[str, Any]) -> None:
    (folder / "signalbox.yaml").write_text(yaml.safe_dump(dict(config), sort_keys=False))


def run(*arguments: str, given: bytes | None = None) -> Result:
    # By way of the whole program: click remembers how a command's help option was first made.
    return CliRunner().invoke(signalbox, ["explain", *arguments], prog_name="signalbox", input=given)


def found_by(*arguments: str) -> dict[str, Any]:
    result = run("--json", *arguments)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def lines_of(*arguments: str, given: bytes, code: int = 0) -> list[dict[str, Any]]:
    result = run("--file", "-", *arguments, given=given)
    assert result.exit_code == code, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def jsonl(*lines: Any) -> bytes:
    return b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)


@pytest.mark.usefixtures("folder")
def test_text_tells_what_happens_and_why() -> None:
    result = run(HARD)
    assert result.exit_code == 0, result.output
    first, second, *rest = result.stdout.splitlines()
    assert first == "auto -> large"
    assert second.strip().startswith("complexity;route=auto;tier=complex")
    text = "\n".join(rest)
    assert "tier complex" in text
    assert "1  sim/l" in text
    assert "2  sim/s" in text
    assert "demanding_words" in text
    assert run(EASY).stdout.splitlines()[0] == "auto -> small"


@pytest.mark.usefixtures("folder")
def test_json_is_one_object() -> None:
    found = found_by(HARD)
    assert found["tier"] == "complex"
    assert [candidate["model"] for candidate in found["candidates"]] == ["large", "small"]


@pytest.mark.usefixtures("folder")
def test_every_line_of_a_file_is_answered_by_one() -> None:
    given = jsonl({"id": "a", "prompt": HARD}, b"", {"messages": [{"role": "user", "content": EASY}], "max_tokens": 5})
    one, other = lines_of(given=given)
    assert one.keys() >= {"id", "score", "tier", "confidence", "task_type", "quality", "candidates"}
    assert (one["id"], one["model"], other["id"], other["model"]) == ("a", "large", 3, "small")
    assert one["score"] > other["score"]
    assert set(one["quality"]) == {"small", "large"}
    assert other["candidates"][0]["cost_usd"] < 0.00001


def test_a_file_is_read_by_its_name(folder: Path) -> None:
    (folder / "f.jsonl").write_bytes(jsonl({"prompt": HARD}))
    result = run("--file", "f.jsonl")
    assert json.loads(result.stdout)["model"] == "large"
    missing = run("--file", "g.jsonl")
    assert missing.exit_code == 1
    assert "g.jsonl: No such file" in missing.stderr


@pytest.mark.usefixtures("folder")
def test_a_bad_line_is_answered_in_its_place_and_fails_the_whole() -> None:
    given = jsonl({"prompt": EASY}, b"{oops", {"id": "b", "prompt": 5}, {"id": "c"}, {"prompt": EASY, "model": "no"}, 7)
    result = run("--file", "-", given=given)
    assert result.exit_code == 1
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["id"] for line in found] == [1, 2, "b", "c", 5, 6]
    assert [line.get("line") for line in found] == [None, 2, 3, 4, 5, 6]
    codes = [line["error"]["code"] if "error" in line else None for line in found]
    assert codes == [
        None,
        "invalid_json",
        "invalid_type",
        "missing_required_parameter",
        "model_not_found",
        "invalid_json",
    ]
    assert "5 of 6 lines" in result.stderr


@pytest.mark.usefixtures("folder")
def test_the_route_of_the_command_line_goes_before_that_of_a_line() -> None:
    given = jsonl({"prompt": EASY, "model": "large"})
    assert lines_of(given=given)[0]["asked"] == "large"
    assert lines_of("--route", "small", given=given)[0]["asked"] == "small"


@pytest.mark.usefixtures("folder")
def test_chance_differs_by_line_and_not_by_run() -> None:
    given = jsonl(*({"prompt": EASY} for _ in range(20)))
    first, again = ([line["model"] for line in lines_of("--route", "lottery", given=given)] for _ in range(2))
    assert first == again
    assert set(first) == {"small", "large"}


def test_without_a_usual_route_it_lists_them(folder: Path) -> None:
    routes = {"one": CONFIG["routes"]["lottery"], "two": CONFIG["routes"]["dear"]}
    write(folder, CONFIG | {"routes": routes})
    for result in (run(EASY), run("--file", "-", given=jsonl({"prompt": EASY}))):
        assert result.exit_code == 2
        assert "one, two" in result.stderr
    write(folder, CONFIG | {"routes": {"one": routes["one"]}})
    assert found_by(EASY)["route"] == "one"
    write(folder, CONFIG | {"routes": {}})
    assert "small, large, paid" in run(EASY).stderr


@pytest.mark.usefixtures("folder")
def test_providers_without_a_key_are_left_out_unless_asked_for() -> None:
    result = run(EASY, "--route", "dear")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("dear -> no candidate")
    assert "disabled" in result.stdout
    assert "openai (OPENAI_API_KEY is not set). --all" in result.stderr
    found = found_by(EASY, "--route", "dear", "--all")
    assert (found["model"], found["rejections"]) == ("paid", [])
    assert found["candidates"][0]["cost_usd"] > 0


@pytest.mark.usefixtures("folder")
def test_all_does_not_make_up_what_is_more_than_a_key(folder: Path) -> None:
    write(folder, CONFIG | {"providers": CONFIG["providers"] | {"openai": {"kind": "azure", "resource": "$NO_SUCH"}}})
    found = found_by(EASY, "--route", "dear", "--all")
    assert [one["reason"] for one in found["rejections"]] == ["disabled"]


@pytest.mark.usefixtures("folder")
def test_quality_is_there_for_models_that_are_off() -> None:
    assert set(found_by(EASY, "--route", "taught")["quality"]) == {"small", "large", "paid"}


@pytest.mark.usefixtures("folder")
def test_a_router_file_that_cannot_be_used_is_told() -> None:
    assert "Router file not in use: cannot read" in run(EASY, "--route", "taught").stdout
    assert "cannot read" in found_by(EASY, "--route", "taught")["router_problem"]
    result = run("--route", "taught", "--file", "-", given=jsonl({"prompt": EASY}))
    assert "router_file of route 'taught'" in result.stderr
    assert json.loads(result.stdout)["router_problem"] is not None


@pytest.mark.usefixtures("folder")
def test_tags_headers_and_keys_are_those_of_the_request() -> None:
    assert found_by(EASY, "--tag", "gold")["rule"] == "gold"
    assert found_by(EASY, "--header", "X-Signalbox-Tags=a, gold")["model"] == "large"
    left_out = found_by(HARD, "--key", "ann")["rejections"]
    assert left_out == [{"model": "large", "deployment": "sim/l", "reason": "not_allowed"}]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "either a PROMPT or --file"),
        (("x", "--file", "-"), "either a PROMPT or --file"),
        (("x", "--route", "smal"), "small"),
        (("x", "--key", "bob"), "'ann'"),
        (("x", "--header", "nothing"), "NAME=VALUE"),
    ],
)
def test_wrong_use_says_what_would_be_right(arguments: tuple[str, ...], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_configuration_with_errors_is_not_used(folder: Path) -> None:
    (folder / "signalbox.yaml").write_text("routes: {auto: {pool: [nobody]}}\n")
    result = run(EASY)
    assert result.exit_code == 1
    assert "nobody" in result.stderr
    assert "signalbox check" in result.stderr
    assert run(EASY, "--config", "nowhere.yaml").exit_code == 1


def test_it_writes_nothing_and_needs_no_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder, CONFIG | {"feedback": {"file": "./feedback.jsonl"}, "keys": []})
    monkeypatch.setenv("SIGNALBOX_HOST", "0.0.0.0")
    monkeypatch.setenv("SIGNALBOX_PORT", "much")
    assert found_by(EASY)["model"] == "small"
    assert [path.name for path in folder.iterdir()] == ["signalbox.yaml"]


def test_without_a_file_there_are_the_built_in_defaults(folder: Path) -> None:
    (folder / "signalbox.yaml").unlink()
    assert found_by(EASY)["model"] == "mock-model"


class TestWithARouter:
    """A route whose router was trained."""

    @pytest.fixture
    def trained(self, folder: Path) -> Path:
        pytest.importorskip("sklearn")
        from routing.learned.feedback import parse
        from routing.learned.model_file import dump
        from routing.learned.train import fit

        rows = [
            {
                "prompt": f"{HARD if number % 2 else EASY} {number}",
                "scores": {"small": float(number % 2 == 0), "large": 1.0, "paid": 0.5},
            }
            for number in range(60)
        ]
        examples = parse(jsonl(*rows).splitlines())
        (folder / "taught.router").write_bytes(dump(fit(examples, lambda: None)))
        return folder

    @pytest.mark.usefixtures("trained")
    def test_its_predictions_and_version_are_told(self) -> None:
        found = found_by(HARD, "--route", "taught")
        assert found["router_version"].endswith("-60")
        assert found["router_problem"] is None
        assert found["quality"]["large"] > found["quality"]["paid"] > 0
        assert found["quality"]["large"] > found["quality"]["small"]
        assert found["model"] == "large"
        assert "Router file: " in run(HARD, "--route", "taught").stdout
