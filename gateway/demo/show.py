"""Runs the demo from start to end and prints its table."""

import hashlib
import secrets
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import openai
from rich import box
from rich.console import Console
from rich.table import Table

from gateway.demo.processes import DemoError, GatewayProcess
from gateway.demo.steps import STEPS, Row, Stage, client_for

_SERIES = "signalbox_cost_usd_total{"
_METRICS_TIMEOUT_S = 5.0


def run(console: Console) -> None:
    """Start everything, play every step, print what happened, end everything. Raises DemoError."""
    key = f"sk-demo-{secrets.token_urlsafe(24)}"
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="signalbox-demo-") as name, ExitStack() as stack:
        folder = Path(name)
        north, south = (
            stack.enter_context(GatewayProcess(provider, "provider.yaml", {}, folder))
            for provider in ("north", "south")
        )
        north.wait_ready()
        south.wait_ready()
        environ = {
            "DEMO_NORTH_URL": north.base_url,
            "DEMO_SOUTH_URL": south.base_url,
            "DEMO_KEY_SHA256": hashlib.sha256(key.encode()).hexdigest(),
        }
        gateway = stack.enter_context(GatewayProcess("gateway", "gateway.yaml", environ, folder))
        gateway.wait_ready()
        console.print(f"Two mock providers: north {north.base_url}, south {south.base_url}")
        console.print(f"The gateway, called by the openai package: base_url={gateway.base_url}\n")
        with client_for(gateway.base_url, key) as client:
            rows = _play(Stage(client, gateway, north), console)
        _check_costs(rows, gateway)
    console.print()
    console.print(_table(rows))
    console.print()
    _tell(rows, console)
    console.print(f"Took {time.monotonic() - started:.1f} s; every process is stopped again.\n")
    console.print("Next: 'signalbox serve' needs no file and no key. In your application:")
    console.print('  client = OpenAI(base_url="http://127.0.0.1:8080/v1", api_key="any")', markup=False)


def _tell(rows: list[Row], console: Console) -> None:
    """What the table means, for somebody who sees it for the first time."""
    easy, hard = rows[0], rows[1]
    for row in (easy, hard):
        console.print(f"'{row.step}' was answered with the header x-signalbox-decision: {row.decision}")
    console.print(
        f"\nThe route 'auto' has a cheap tier, simple, and a good one, complex. It scored the two requests\n"
        f"{easy.score:.2f} and {hard.score:.2f} of 1 by their words; no model was asked. Confidence is the\n"
        f"chance that another wording would get the same tier. It does not say that the answer will be good.\n"
        f"The other steps name their model, so nothing is judged. All answers are a mock's.\n"
        f"Before 'fallback' the process of north was ended: one call failed, the other tier answered.\n"
        f"/metrics adds up to the same cost as the rows: ${_cost_usd(rows):.7f}."
    )


def _play(stage: Stage, console: Console) -> list[Row]:
    rows: list[Row] = []
    for step in STEPS:
        try:
            played = step(stage)
        except openai.OpenAIError as error:
            raise DemoError(f"step '{step.__name__}' failed: {type(error).__name__}: {error}") from error
        for row in played:
            # Answers are whatever a model says: never markup.
            console.print(f"  {row.step:<11}  {row.shown}", markup=False, no_wrap=True, overflow="ellipsis")
        rows += played
    return rows


def _cost_usd(rows: list[Row]) -> float:
    return sum(row.cost_usd or 0.0 for row in rows)


def _check_costs(rows: list[Row], gateway: GatewayProcess) -> None:
    """What single requests cost and what the metrics add up has to be the same money."""
    no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with no_proxy.open(f"{gateway.root_url}/metrics", timeout=_METRICS_TIMEOUT_S) as answer:
        lines = answer.read().decode().splitlines()
    counted = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(_SERIES))
    shown = _cost_usd(rows)
    if abs(counted - shown) > 1e-9 or not shown:
        raise DemoError(f"the requests cost ${shown:.9f} by their headers and log lines, ${counted:.9f} by /metrics.")


def _table(rows: list[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for title in ("step", "model\nasked", "model\nchosen", "tier"):
        table.add_column(title, no_wrap=True)
    table.add_column("confi-\ndence", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold", min_width=10)
    for title in ("calls", "tokens", "cost\nmicro-$", "over-\nhead ms"):
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        is_answered = row.cost_usd is not None
        table.add_row(
            *(row.step, row.asked, row.chosen, row.tier or "-"),
            "-" if row.confidence is None else f"{row.confidence:.2f}",
            *(_why(row), str(row.attempts)),
            str(row.tokens) if is_answered else "-",
            f"{row.cost_usd * 1e6:.2f}" if row.cost_usd is not None else "-",
            f"{row.overhead_ms:.2f}" if is_answered else "-",
        )
    return table


def _why(row: Row) -> str:
    """The decision in words."""
    if row.cost_usd is None:
        return row.decision
    if row.score is None:
        return "asked by name"
    return f"scored {row.score:.2f}" + (", then fallback" if row.attempts > 1 else "")
