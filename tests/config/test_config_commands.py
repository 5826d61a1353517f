"""`signalbox`, `signalbox check` and `signalbox schema` as a person or an editor meets them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel

import gateway.cli.main
from config import schema
from gateway.cli.main import Commands, signalbox

EXAMPLE = Path(__file__).parents[2] / "signalbox.example.yaml"
GOOD = "providers: {sim: {kind: mock}}\nmodels: {m: {deployments: [{provider: sim, model: m}]}}\n"
BAD = GOOD + "polices: {}\n"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGNALBOX_CONFIG", raising=False)


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(signalbox, arguments, prog_name="signalbox")


def test_check_of_a_good_file() -> None:
    Path("signalbox.yaml").write_text(GOOD)
    result = _run("check")
    assert result.exit_code == 0
    assert result.stdout == "signalbox.yaml: ok: 1 provider, 1 model, 0 routes, 0 keys.\n"
    assert result.stderr == ""


def test_check_of_a_bad_file() -> None:
    Path("bad.yaml").write_text(BAD)
    result = _run("check", "bad.yaml")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "--> bad.yaml:3:1" in result.stderr
    assert "Did you mean 'policies'?" in result.stderr
    assert "\x1b" not in result.stderr


def test_check_as_json() -> None:
    Path("bad.yaml").write_text(BAD)
    result = _run("check", "bad.yaml", "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["ok"] is False
    [problem] = [diagnostic for diagnostic in report["diagnostics"] if diagnostic["severity"] == "error"]
    assert (problem["code"], problem["line"], problem["column"], problem["end_column"]) == ("unknown-key", 3, 1, 8)


def test_check_knows_which_options_a_kind_reads() -> None:
    Path("signalbox.yaml").write_text(
        """providers:
  a: {kind: azure, api_key: $AZURE_KEY, resorce: x, auth: bearer}
  b: {kind: azure, api_key: k1, resource: x, auth: token}
  g: {kind: gemini, api_key: k2, locations: here, organization: o}
  n: {kind: anthropic, api_key: k3, verison: "2023-06-01", ca_file: /nowhere.pem}
  q: {kind: groq, api_key: k4, base_ulr: "http://x", account: mine}
  s: {kind: mock, ttft_s: soon, fualt: "503"}
  v: {kind: snowflake, api_key: k5, account: mine}
"""
    )
    found = [
        (one["line"], one["column"], one["message"].partition(":")[0].rstrip("."), one.get("hint"))
        for one in json.loads(_run("check", "--json").stdout)["diagnostics"]
        if one["severity"] == "error"
    ]
    assert found == [
        (2, 41, "providers.a has no key 'resorce'", "Did you mean 'resource'?"),
        (3, 52, "Provider 'b'", None),
        (4, 34, "providers.g has no key 'locations'", "Did you mean 'location'?"),
        (4, 51, "providers.g has no key 'organization'", "Did you mean 'location'?"),
        (5, 37, "providers.n has no key 'verison'", "Known are: ca_file, public_only."),
        (5, 69, "Provider 'n'", None),
        (6, 32, "providers.q has no key 'base_ulr'", "Did you mean 'base_url'?"),
        (6, 54, "providers.q has no key 'account'", "Known are: ca_file, public_only."),
        (7, 27, "Provider 's'", None),
        (7, 33, "providers.s has no key 'fualt'", "Did you mean 'fault'?"),
    ]


def test_check_names_disabled_providers() -> None:
    Path("signalbox.yaml").write_text(GOOD + "keys: []\n")
    Path("off.yaml").write_text(GOOD.replace("{sim:", "{a: {kind: openai, api_key: $NOT_SET_HERE}, sim:"))
    result = _run("check", "off.yaml")
    assert result.exit_code == 0
    assert "Disabled: a (NOT_SET_HERE is not set)." in result.stdout


def test_check_of_the_example() -> None:
    """Every kind it names exists."""
    result = _run("check", str(EXAMPLE))
    assert result.exit_code == 0, result.stderr
    assert "6 providers, 4 models, 3 routes, 1 key" in result.stdout


def test_check_without_a_file_checks_the_defaults() -> None:
    result = _run("check")
    assert result.exit_code == 0
    assert result.stdout.startswith("No configuration file, so the built-in defaults: ok: ")


def test_check_of_a_missing_file() -> None:
    result = _run("check", "nowhere.yaml")
    assert result.exit_code == 1
    assert "Cannot read the configuration file: No such file or directory." in result.stderr


def test_check_uses_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("other.yaml").write_text(GOOD)
    monkeypatch.setenv("SIGNALBOX_CONFIG", "other.yaml")
    assert _run("check").stdout.startswith("other.yaml: ok")


def test_schema_accepts_the_example_and_refuses_mistakes() -> None:
    result = _run("schema")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    validator = jsonschema.Draft202012Validator(document)
    validator.check_schema(document)
    example = yaml.safe_load(EXAMPLE.read_text())
    assert list(validator.iter_errors(example)) == []
    assert list(validator.iter_errors({**example, "polices": {}}))
    assert list(validator.iter_errors({"providers": {"a": {"kind": "no such kind"}}}))


def test_every_key_is_described() -> None:
    seen: set[type[BaseModel]] = set()

    def visit(model: type[BaseModel]) -> None:
        seen.add(model)
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"

    for module in (schema, sys.modules["config.schema_routes"], sys.modules["config.schema_policies"]):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BaseModel):
                visit(value)
    assert len(seen) > 20


def test_an_unknown_command_gets_a_suggestion() -> None:
    result = _run("chek")
    assert result.exit_code == 2
    assert "There is no command 'chek'. Did you mean 'check'?" in result.stderr


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """The same group over a folder of its own, where `serve` only tells its arguments."""
    (tmp_path / "serve.py").write_text(
        "import click\n@click.command()\n@click.option('--port')\ndef command(port):\n    click.echo(f'serve {port}')\n"
    )
    (tmp_path / "two_words.py").write_text(
        "import click\ncommand = click.Command('x', callback=lambda: click.echo('two'))\n"
    )
    (tmp_path / "helper.py").write_text("raise RuntimeError('not a command, so never imported')\n")
    monkeypatch.setattr(gateway.cli.main, "__file__", str(tmp_path / "main.py"))

    def load(name: str) -> Any:
        scope: dict[str, Any] = {}
        exec((tmp_path / f"{name.rpartition('.')[2]}.py").read_text(), scope)
        return type("Module", (), {"command": staticmethod(scope["command"])})

    monkeypatch.setattr(gateway.cli.main, "import_module", load)
    return Commands("signalbox", params=[click.Option(["--version"], is_flag=True, expose_value=False)])


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ([], "serve None\n"),
        (["--port", "1"], "serve 1\n"),
        (["--port=1"], "serve 1\n"),
        (["serve", "--port", "1"], "serve 1\n"),
        (["two-words"], "two\n"),
    ],
)
def test_serve_is_the_default(commands: Commands, arguments: list[str], output: str) -> None:
    result = CliRunner().invoke(commands, arguments)
    assert (result.exit_code, result.output) == (0, output)


def test_commands_are_found_by_file(commands: Commands) -> None:
    assert commands.list_commands(click.Context(commands)) == ["serve", "two-words"]
    assert "two-words" in CliRunner().invoke(commands, ["--help"]).output


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-X", "importtime", "-m", "gateway.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=EXAMPLE.parent)


@pytest.mark.parametrize("arguments", [["--version"], ["check", "signalbox.example.yaml"], ["schema"]])
def test_quick_commands_import_no_server(arguments: list[str]) -> None:
    result = _process(*arguments)
    imported = {
        line.rpartition("|")[2].strip() for line in result.stderr.splitlines() if line.startswith("import time:")
    }
    assert "click" in imported
    heavy = {
        "asyncio",
        "uvicorn",
        "fastapi",
        "pyreqwest",
        "rich",
        "redis",
        "pydantic_settings",
        "prometheus_client",
        "structlog",
    }
    assert not heavy & imported


def test_the_real_process_tells_its_version() -> None:
    result = _process("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("signalbox ")


def test_the_real_process_fails_on_a_bad_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    assert _process("check", str(tmp_path / "bad.yaml")).returncode == 1
