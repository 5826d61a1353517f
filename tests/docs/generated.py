"""The parts of docs/reference that are made from the code, so that they cannot fall behind it.

`python -m tests.docs.generated` writes them into the pages, between `<!-- generated: NAME -->` and `<!-- end -->`;
test_reference.py fails while a page has something else there.
"""

import inspect
import re
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from types import ModuleType, SimpleNamespace
from typing import Any

from click.testing import CliRunner
from prometheus_client import CollectorRegistry, Histogram

from config.inactive import inactive_sections
from config.json_schema import json_schema
from config.load import load_bytes
from config.settings import PREFIX, Settings, secret_settings
from gateway.admin.access import ROLE_FIELD
from gateway.admin.app import build_control_plane
from gateway.api.endpoint import endpoints
from gateway.cli.main import signalbox
from gateway.telemetry.metrics import Metrics
from gateway.wire import refusals, refusals_cache
from policies.verdicts import VERDICTS
from providers import registry
from providers.base import Cause, ErrorKind, Target
from providers.catalog import Vendor, vendors
from routing.constraints import NoCandidateError
from routing.decision import Deployment, Reason, Rejection
from tests.docs.figures import RESULTS, figures
from tests.docs.money_figures import MEASURED
from tests.docs.money_figures import refusals as money_refusals
from tests.docs.pages import Page, pages
from tests.docs.routing_figures import FIGURES as ROUTING_FIGURES
from tests.docs.summary_figures import SUMMARIES
from tests.docs.tables import code, table

FIGURES = {**ROUTING_FIGURES, **MEASURED, **SUMMARIES}
_SECTION = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

# A file that makes use of everything, so that what is inactive shows.
_EVERYTHING = b"""
providers: {sim: {kind: mock}}
models: {m: {deployments: [{provider: sim, model: m}]}}
rules: [{when: {has_tools: true}, use: m}]
policies:
  retry: {backoff_base_s: 1, backoff_max_s: 1, budget_ratio: 0.1}
  breaker: {failures: 5}
  hedge: {enabled: true}
  overload: {queue_max: 5}
  cache: {exact: {enabled: true}}
budgets: {b: {limit_usd: 1}}
limits: {l: {concurrency: 1}}
"""


# Configuration keys, from the JSON Schema.


def configuration() -> str:
    schema = json_schema(registry.kinds())
    inactive = _inactive_paths()
    parts = []
    first: dict[int, str] = {}
    for path, definition in _sections(schema, schema, ""):
        if id(definition) in first:
            parts.append(f"### `{path}`\n\nAs `{first[id(definition)]}`.\n")
            continue
        first[id(definition)] = path
        is_off = any(path == one or path.startswith((f"{one}.", f"{one}[")) for one in inactive)
        note = " *Loaded and checked, not active yet.*" if is_off else ""
        required = definition.get("required", [])
        rows = [_key_row(schema, path, name, entry, name in required, inactive) for name, entry in _entries(definition)]
        about = definition.get("description", "").split("\n")[0]
        parts.append(f"### `{path or 'the file'}`\n\n{about}{note}\n\n" + table(("key", "type", "default", ""), rows))
    return "\n".join(parts)


def _inactive_paths() -> set[str]:
    loaded = load_bytes(_EVERYTHING, file="everything", environ={}, known_kinds=registry.kinds())
    assert loaded.config is not None, loaded.diagnostics
    return {".".join(map(str, part.path)) for part in inactive_sections(loaded.config)}


def _entries(definition: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return list(definition.get("properties", {}).items())


def _sections(schema: dict[str, Any], definition: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every mapping with fixed keys, with the path that leads to it."""
    yield path, definition
    for name, entry in _entries(definition):
        found, suffix = _inner(schema, entry)
        if found is not None:
            yield from _sections(schema, found, f"{path}.{name}{suffix}" if path else f"{name}{suffix}")


def _inner(schema: dict[str, Any], entry: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The section that a key leads to, and how the way there is written."""
    if "$ref" in entry:
        return schema["$defs"][entry["$ref"].rpartition("/")[2]], ""
    for option in entry.get("anyOf", ()):
        found, suffix = _inner(schema, option)
        if found is not None:
            return found, suffix
    if isinstance(entry.get("items"), dict):
        found, suffix = _inner(schema, entry["items"])
        return found, f"[]{suffix}"
    values = _values(entry)
    if values is not None:
        found, suffix = _inner(schema, values)
        return found, f".<name>{suffix}"
    return None, ""


def _values(entry: dict[str, Any]) -> dict[str, Any] | None:
    """What stands under the free names of a mapping."""
    more = entry.get("additionalProperties")
    if isinstance(more, dict):
        return more
    return next(iter(entry.get("patternProperties", {}).values()), None)


def _key_row(
    schema: dict[str, Any], path: str, name: str, entry: dict[str, Any], is_required: bool, inactive: set[str]
) -> list[str]:
    about = entry.get("description", "")
    if f"{path}.{name}".removeprefix(".") in inactive:
        about += " *Not active yet.*"
    return [f"`{name}`", _type(schema, entry, name), "**required**" if is_required else _default(schema, entry), about]


def _type(schema: dict[str, Any], entry: dict[str, Any], name: str = "") -> str:
    if name == "kind":
        return "a [kind](providers.md)"
    if "$ref" in entry:
        return "section"
    if "enum" in entry:
        return code(entry["enum"])
    if "anyOf" in entry:
        return " or ".join(_type(schema, one) for one in entry["anyOf"] if one.get("type") != "null")
    kind = entry.get("type")
    if kind == "array":
        return f"list of {_plural(_type(schema, entry.get('items', {})))}"
    if kind == "object":
        inner = _values(entry)
        return f"names with {_plural(_type(schema, inner))}" if inner is not None else "section"
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`"}
    return words.get(str(kind), "anything") + _bounds(entry)


def _plural(text: str) -> str:
    return {"section": "sections", "text": "texts"}.get(text, text)


def _bounds(entry: dict[str, Any]) -> str:
    low, above = entry.get("minimum"), entry.get("exclusiveMinimum")
    high = entry.get("maximum")
    if (low is not None or above is not None) and high is not None:
        return f" {low}–{high}" if low is not None else f" above {above}, up to {high}"
    if low is not None:
        return f" from {low}"
    return f" above {above}" if above is not None else ""


def _default(schema: dict[str, Any], entry: dict[str, Any]) -> str:
    default = entry.get("default")
    if default is None or _inner(schema, entry)[0] is not None or default in ({}, []):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


# Everything else.


def settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.default
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append([f"`{PREFIX}{name.upper()}`", shown, field.description or ""])
    secrets = code(f"{PREFIX}{name.upper()}_FILE" for name in secret_settings())
    return table(("variable", "default", ""), rows) + f"\nFrom a file instead: {secrets}.\n"


def metrics() -> str:
    collector_registry = CollectorRegistry()
    Metrics(collector_registry)
    seen: dict[str, list[str]] = {}
    for collector in dict.fromkeys(collector_registry._collector_to_names):
        found: Any = collector
        name = found._name + ("_total" if found._type == "counter" else "")
        about = found._documentation
        if isinstance(found, Histogram):
            about += f" Buckets: {', '.join(f'{bound:g}' for bound in found._upper_bounds if bound != float('inf'))}."
        seen[name] = [f"`{name}`", found._type, code(found._labelnames), about]
    return table(("series", "type", "labels", ""), seen.values())


def endpoint_list() -> str:
    guards = {"caller": "virtual key", "open": "nobody", "metrics": "admin key, but for an open gateway on loopback"}
    rows = [
        [code(endpoint.methods), "<br>".join(code([path]) for path in endpoint.paths), guards[endpoint.guard],
         endpoint.summary]
        for endpoint in sorted(endpoints(), key=lambda one: one.paths)
    ]  # fmt: skip
    return table(("method", "path", "asks for", ""), rows)


def admin_list() -> str:
    """What the control plane itself says of its routes."""
    recorder = SimpleNamespace(logger=None)
    service: Any = SimpleNamespace(settings=Settings.load({}), recorder=recorder, wall_clock=time.time)
    reloader: Any = None
    rows = [
        [f"`{method.upper()}`", f"`{path}`", of[ROLE_FIELD], " ".join(of["description"].split())]
        for path, methods in build_control_plane(service, reloader, []).openapi()["paths"].items()
        for method, of in methods.items()
    ]
    return table(("method", "path", "role", ""), sorted(rows, key=lambda row: row[1].strip("`")))


def commands() -> str:
    import click

    runner = CliRunner()
    names = signalbox.list_commands(click.Context(signalbox))
    calls = [["--help"]]
    for name in names:
        calls.append([name, "--help"])
        found = signalbox.get_command(click.Context(signalbox), name)
        if isinstance(found, click.Group):
            calls += [[name, below, "--help"] for below in found.commands]
    parts = []
    for call in calls:
        result = runner.invoke(signalbox, call, prog_name="signalbox", terminal_width=100, env={"COLUMNS": "100"})
        assert result.exit_code == 0, result.output
        title = " ".join(["signalbox", *call[:-1]])
        text = "\n".join(line.rstrip() for line in result.output.splitlines())
        parts.append(f"## `{title}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def refusal_list() -> str:
    rows: dict[str, list[str]] = {}
    makers = [
        one for module in (refusals, refusals_cache) for one in _makers(module) if one is not refusals.no_candidate
    ]
    for make in makers:
        parameters = inspect.signature(make).parameters
        for changes in ({}, {"missing": True}) if "missing" in parameters else ({},):
            error = make(**{name: _some(one) for name, one in parameters.items() if name not in changes} | changes)
            status, _, about = (inspect.getdoc(make) or "").partition(":")
            advice = next((v.decode() for n, v in error.refusal.headers if n == b"x-should-retry"), "")
            words = " ".join((about or error.refusal.error["message"]).split())
            words = words[:1].upper() + words[1:]
            rows[error.reason] = [f"`{error.reason}`", status.strip(" ."), f"`{advice}`" if advice else "", words]
    return table(("reason = `code`", "status", "`x-should-retry`", ""), (rows[key] for key in sorted(rows)))


def _makers(module: ModuleType) -> list[Callable[..., refusals.RefusedError]]:
    """The functions of a module, without those it imports and those of its own use."""
    found = inspect.getmembers(module, inspect.isfunction)
    return [make for name, make in found if make.__module__ == module.__name__ and not name.startswith("_")]


def no_candidates() -> str:
    sim = Deployment("sim/m", "sim/m", "m", "sim", Target("m"), None)
    rows = []
    for reason in Reason:
        refusal = refusals.no_candidate("m", NoCandidateError([Rejection(sim, reason)])).refusal
        said = refusal.error["message"].partition(": ")[2].partition(". ")[0]
        advice = dict(refusal.headers)[b"x-should-retry"].decode()
        rows.append([code([reason.value]), code([refusal.error["code"]]), str(refusal.status), code([advice]), said])
    return table(("`constraint`", "`code`", "status", "`x-should-retry`", "of the name asked for"), rows)


def _some(parameter: inspect.Parameter) -> Any:
    """A value of the right type, to see what a function makes of it."""
    if parameter.default is not inspect.Parameter.empty:
        return parameter.default
    return {int: 400, float: 1.0, bool: False}.get(parameter.annotation, "x")


def verdicts() -> str:
    rows = []
    for kind, about in _comments(ErrorKind).items():
        verdict = VERDICTS[ErrorKind(kind)]
        answer = f"upstream's own, else {verdict.status}" if verdict.is_callers else str(verdict.status)
        next_step = "same candidate once, then the next" if verdict.retries_fresh else "next candidate"
        rows.append([f"`{kind}`", about, next_step if verdict.falls_back else "ends", answer,
                     "upstream's own" if verdict.is_callers else f"`{verdict.error_type}`"])  # fmt: skip
    return table(("kind", "meaning", "before the first byte", "status at the end", "`type`"), rows)


def causes() -> str:
    return table(("cause", ""), ([f"`{cause}`", about] for cause, about in _comments(Cause).items()))


def _comments(enum: type[StrEnum]) -> dict[str, str]:
    """Member -> the comment behind it in the source."""
    found = re.findall(r'^\s+\w+ = "(\w+)"  # (.+)$', inspect.getsource(enum), re.MULTILINE)
    assert {name for name, _ in found} == {str(member) for member in enum}
    return dict(found)


def catalog() -> str:
    rows = [
        [f"`{vendor.kind}`", f"`{vendor.base_url}`", f"`{vendor.env_key}`" if vendor.env_key else "",
         ", ".join(vendor.operations), "; ".join(_quirks(vendor))]
        for vendor in vendors().values()
    ]  # fmt: skip
    return table(("kind", "address", "key variable", "operations", "what is done for it"), rows)


def _quirks(vendor: Vendor) -> Iterator[str]:
    if vendor.is_keyless:
        yield "needs no key"
    if vendor.drops:
        yield f"drops {code(vendor.drops)}"
    for old, new in vendor.renames.items():
        yield f"`{old}` → `{new}`"
    if vendor.developer_role:
        yield f"role `developer` → `{vendor.developer_role}`"
    if not vendor.has_stream_options:
        yield "no `stream_options`"
    if not vendor.has_json_schema:
        yield "JSON schema → JSON mode and an instruction"
    if vendor.tool_id_pattern:
        yield f"tool ids as `{vendor.tool_id_pattern}`"
    if vendor.embedding_formats != ("float", "base64"):
        yield "embedding format converted"
    if vendor.headers:
        yield f"sends {code(vendor.headers)}"


def dialects() -> str:
    keys, addresses = registry.env_keys(), registry.base_urls()
    rows = [
        [f"`{kind}`", f"`{addresses[kind]}`" if kind in addresses else "", f"`{keys[kind]}`" if kind in keys else ""]
        for kind in registry.kinds()
        if kind not in vendors()
    ]
    return table(("kind", "usual address", "usual key variable"), rows)


SECTIONS: dict[str, Callable[[], str]] = {
    "figures": figures,
    "configuration": configuration,
    "settings": settings,
    "metrics": metrics,
    "endpoints": endpoint_list,
    "admin": admin_list,
    "commands": commands,
    "refusals": refusal_list,
    "no-candidates": no_candidates,
    "verdicts": verdicts,
    "causes": causes,
    "catalog": catalog,
    "dialects": dialects,
    "money-refusals": money_refusals,
    **FIGURES,
}


def written(page: Page, *, measured: bool = False) -> str:
    """The page with its generated parts made anew; the figures of the benchmarks only with `measured`."""

    def make(found: re.Match[str]) -> str:
        if (found[2] == "figures" or found[2] in FIGURES) and not (measured and RESULTS.exists()):
            return found[0]
        return f"{found[1]}\n{SECTIONS[found[2]]()}\n{found[3]}"

    return _SECTION.sub(make, page.text)


def main() -> None:
    for page in pages():
        text = written(page, measured=True)
        if text != page.text:
            page.path.write_text(text, encoding="utf-8")
            print(f"written: {page.name}")


if __name__ == "__main__":
    main()
