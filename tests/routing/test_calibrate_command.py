"""`signalbox calibrate` as a person meets it: what it reads, what it says, and what it leaves of a file."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.load import load_path
from gateway.cli.cuts_in_file import NotSafeError, with_cuts
from gateway.cli.main import signalbox
from tests.fakes.gateway import Gateway
from tests.fakes.http import send

CONFIG = """\
# Ours.
providers: {sim: {kind: mock}}   # the mock
models:
  small: {deployments: [{provider: sim, model: s}]}
  large: {deployments: [{provider: sim, model: l}]}

routes:
  plain: {pool: [small]}

  auto:                          # what everybody uses
    strategy: complexity
    # from cheap to good
    tiers:
      simple:  [small]
      medium:  [small]
      complex: [large]
    default_tier: medium         # where unsure
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "signalbox.yaml").write_text(CONFIG)
    return tmp_path


def calibrate(folder: Path, lines: list[object], *options: str) -> Result:
    file = folder / "traffic.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    config = ["--config", str(folder / "signalbox.yaml")]
    return CliRunner().invoke(signalbox, ["calibrate", str(file), *config, *options], prog_name="signalbox")


def scores(count: int = 100) -> list[object]:
    return [{"score": (number + 0.5) / count} for number in range(count)]


def cuts_of(folder: Path, route: str = "auto") -> tuple[float, ...] | None:
    loaded = load_path(folder / "signalbox.yaml", environ={}, known_kinds=["mock"])
    assert loaded.config is not None, loaded.diagnostics
    return loaded.config.routes[route].cuts


def test_it_says_what_is_and_what_would_be(folder: Path) -> None:
    result = calibrate(folder, scores())
    assert result.exit_code == 0, result.output
    assert "100 requests, route 'auto', cuts [0.3, 0.6] -> [0.5, 0.8]" in result.output
    rows = {line.split()[0]: line.split()[1:] for line in result.output.splitlines() if "%" in line}
    assert rows["simple"] == ["30.0%", "50.0%", "50.0%"]
    assert rows["complex"] == ["40.0%", "20.0%", "20.0%"]
    assert "    cuts: [0.5, 0.8]" in result.output
    assert (folder / "signalbox.yaml").read_text() == CONFIG


def test_shares_are_proportions(folder: Path) -> None:
    for shares in ("simple=10,medium=30,complex=60", " complex=60%, medium=30%, simple=10%"):
        assert "-> [0.1, 0.4]" in calibrate(folder, scores(), "--shares", shares).output


def test_prompts_are_classified_as_the_gateway_does_it(folder: Path) -> None:
    easy, hard = "hi", "Prove, step by step, that there are infinitely many primes, and derive the bound. " * 5
    lines = [{"prompt": easy}] * 30 + [{"messages": [{"role": "user", "content": hard}], "scores": {"a": 1}}] * 30
    lines += [{"prompt": f"Write a function that sorts {number} names in Python."} for number in range(30)]
    result = calibrate(folder, lines)
    assert result.exit_code == 0, result.output
    assert "90 requests" in result.output
    assert "in the default tier 'medium'" in result.output


def test_the_gateways_log_can_be_read(folder: Path) -> None:
    log: list[object] = [{"event": "request", "level": "info", **line} for line in scores()]  # type: ignore[dict-item]
    log += [{"event": "stopped"}, {"event": "feedback", "score": 1.0}, {"event": "request", "model": "small"}]
    result = calibrate(folder, log)
    assert "100 requests" in result.output
    assert "in the default tier" not in result.output


@pytest.mark.e2e
def test_the_log_of_a_real_gateway_will_do(folder: Path) -> None:
    with Gateway(CONFIG) as gateway:
        for text in ("hi", "Prove that there are infinitely many primes, step by step.", "Sort 17 names in Python"):
            body = {"model": "auto", "messages": [{"role": "user", "content": text}]}
            answer = send(f"{gateway.base_url}/chat/completions", body)
            gateway.wait_log(answer.headers["x-request-id"])
        log = gateway.logs()
    result = calibrate(folder, [*log], "--shares", "simple=1,medium=1,complex=1")
    assert result.exit_code == 0, result.output
    assert "3 requests" in result.output


def test_write_changes_one_line_and_keeps_every_other_byte(folder: Path) -> None:
    config = folder / "signalbox.yaml"
    config.chmod(0o640)
    assert calibrate(folder, scores(), "--write").exit_code == 0
    lines = config.read_text().splitlines(keepends=True)
    assert cuts_of(folder) == (0.5, 0.8)
    assert config.stat().st_mode & 0o777 == 0o640
    assert "".join(line for line in lines if "cuts:" not in line) == CONFIG
    assert sorted(path.name for path in folder.iterdir()) == ["signalbox.yaml", "traffic.jsonl"]

    again = calibrate(folder, scores(), "--write", "--shares", "simple=1,medium=2,complex=1")
    assert again.exit_code == 0, again.output
    assert cuts_of(folder) == (0.25, 0.75)
    assert config.read_text() == "".join(lines).replace("[0.5, 0.8]", "[0.25, 0.75]")


@pytest.mark.parametrize(
    ("auto", "is_written"),
    [
        ("  auto: {strategy: complexity, tiers: {a: [small], b: [small], c: [large]}}  # flow\n", True),
        ("  auto: {cuts: [0.1, 0.2], strategy: complexity, tiers: {a: [small], b: [small], c: [large]}}\n", True),
        (
            '  "auto":\n      tiers: {a: [small], b: [small], c: [large]}\n      strategy: complexity\n'
            "      cuts:\n      - 0.1\n      - 0.2\n",
            False,
        ),
        ("  auto:\r\n    tiers: {a: [small], b: [small], c: [large]}\r\n    strategy: complexity\r\n", True),
        ("  ? auto\n  : strategy: complexity\n    tiers: {a: [small], b: [small], c: [large]}\n", False),
    ],
    ids=["flow", "flow with cuts", "list with dashes", "windows", "explicit key"],
)
def test_write_in_every_style_changes_that_key_or_nothing(folder: Path, auto: str, is_written: bool) -> None:
    config = folder / "signalbox.yaml"
    before = CONFIG[: CONFIG.index("  auto:")] + auto
    config.write_bytes(before.encode())
    result = calibrate(folder, scores(), "--write")
    if is_written:
        assert cuts_of(folder) == (0.5, 0.8), result.output
        assert b"# the mock" in config.read_bytes()
    else:
        assert "by hand" in result.output
        assert config.read_bytes() == before.encode()


def test_a_mapping_that_two_routes_share_is_left_alone(folder: Path) -> None:
    config = folder / "signalbox.yaml"
    shared = "    strategy: complexity\n    tiers: {a: [small], b: [small], c: [large]}\n"
    config.write_text(CONFIG[: CONFIG.index("  auto:")] + f"  one: &same\n{shared}  two: *same\n")
    result = calibrate(folder, scores(), "--write", "--route", "two")
    assert result.exit_code == 1
    assert "changed something else" in result.output
    assert cuts_of(folder, "one") is None
    assert sorted(path.name for path in folder.iterdir()) == ["signalbox.yaml", "traffic.jsonl"]


@pytest.mark.parametrize(
    ("lines", "options", "says"),
    [
        ([], [], "no requests in it"),
        ([{"event": "stopped"}], [], "no requests in it"),
        ([{"text": "x"}], [], "line 1: it needs 'prompt'"),
        ([{"score": 0.5}, {"score": 1.5}], [], "line 2: it needs 'prompt'"),
        ([7], [], "line 1: it is not a JSON object"),
        ([{"score": 0.5}] * 9, [], "too few different scores"),
        (scores(), ["--route", "plain"], "'plain' is none of them"),
        (scores(), ["--shares", "simple=0.5"], "name every tier"),
        (scores(), ["--shares", "simple=0,medium=1,complex=1"], "above 0"),
        (scores(), ["--shares", "simple=nan,medium=1,complex=1"], "above 0"),
        (scores(), ["--shares", "simple"], "is not TIER=NUMBER"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, lines: list[object], options: list[str], says: str) -> None:
    result = calibrate(folder, lines, *options)
    assert result.exit_code == 1
    assert says in result.output
    assert (folder / "signalbox.yaml").read_text() == CONFIG


def test_a_broken_configuration_is_left_to_check(folder: Path) -> None:
    (folder / "signalbox.yaml").write_text("routes: [")
    result = calibrate(folder, scores())
    assert result.exit_code == 1
    assert "signalbox check" in result.output


def test_few_requests_are_called_few(folder: Path) -> None:
    assert "few requests" in calibrate(folder, scores(10)).output
    assert "few requests" not in calibrate(folder, scores(50)).output


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.text(alphabet="ab:{}[]#\n \t'\"&*-,?|", max_size=60))
def test_no_file_breaks_it(text: str) -> None:
    with suppress(NotSafeError):
        with_cuts(f"routes:\n  auto:\n    {text}".encode(), "auto", "[0.1, 0.2]")
