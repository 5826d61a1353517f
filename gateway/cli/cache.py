"""`signalbox cache`: what a running gateway keeps of answers, and how it forgets them."""

from typing import Any

import click
import orjson

_url = click.option(
    "--url",
    metavar="URL",
    default="http://127.0.0.1:8080",
    show_default=True,
    help="The running gateway (its admin port, where it has one of its own); with SIGNALBOX_ADMIN_KEY.",
)
_json = click.option("--json", "is_json", is_flag=True, help="Print JSON instead of text.")


@click.group()
def command() -> None:
    """Look at the answers that a running gateway keeps, and make it forget them.

    Exit code 0: done; 1: not done; 2: wrong use.
    """


@command.command()
@_json
@_url
def stats(is_json: bool, url: str) -> None:
    """Show how many answers a worker keeps, their size, and what they saved."""
    _print(_ask(url, "GET", "/admin/cache"), is_json=is_json)


@command.command()
@click.option("--entry", metavar="ID", help="The one that a head names in x-signalbox-cache-entry.")
@click.option("--key", metavar="NAME", help="Those that were made for this virtual key.")
@click.option("--model", metavar="NAME", help="Those to requests for this model or route.")
@click.option("--tag", metavar="TAG", help="Those to requests with this tag.")
@click.option("--all", "everything", is_flag=True, help="Every answer.")
@_json
@_url
def purge(everything: bool, is_json: bool, url: str, **named: str | None) -> None:
    """Forget answers, in every worker; with several options those that meet all of them."""
    body: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if everything == bool(body):
        raise click.UsageError("Name what is to be forgotten (--entry, --key, --model, --tag), or say --all.")
    _print(_ask(url, "POST", "/admin/cache/purge", body | ({"all": True} if everything else {})), is_json=is_json)


@command.command()
@click.argument("prompt")
@click.option("--route", metavar="NAME", help="Route or model to ask for. [default: auto]")
@click.option("--key", metavar="NAME", help="Explain as for this virtual key.")
@click.option("--system", metavar="TEXT", help="The system prompt that goes before.")
@_json
@_url
def explain(prompt: str, route: str | None, key: str | None, system: str | None, is_json: bool, url: str) -> None:
    """Show whether PROMPT would be answered from memory, and which guard or score decides."""
    body: dict[str, Any] = {"prompt": prompt}
    if system is not None:
        turns = (("system", system), ("user", prompt))
        body = {"messages": [{"role": role, "content": text} for role, text in turns]}
    body |= {name: value for name, value in (("route", route), ("key", key)) if value is not None}
    found = _ask(url, "POST", "/admin/cache/explain", body)
    if is_json:
        _print(found, is_json=True)
        return
    semantic = found.pop("semantic", {})
    _print(found, is_json=False)
    for name in ("compared_with", "labels", "threshold"):
        if semantic.get(name) is not None:
            click.echo(f"{name}: {semantic[name]}")
    for one in semantic.get("candidates", ()):
        said = ("guard " + one["guard"]) if one["guard"] else f"score {one['score']}"
        blocked = ", wrong before" if one["is_blocked"] else ""
        cosine = "" if one["cosine"] is None else f", cosine {one['cosine']}"
        click.echo(f"candidate {one['entry']}: {said}{blocked}{cosine}")


def _ask(url: str, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    from gateway.cli.admin_client import ask_once  # imports a client library, which no other command needs

    return ask_once(url, method, path, body)


def _print(found: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        click.echo(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        return
    for name, value in found.items():
        if name != "object" and value is not None:
            click.echo(f"{name}: {orjson.dumps(value).decode() if isinstance(value, dict) else value}")
