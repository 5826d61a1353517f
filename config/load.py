"""One way from bytes to a checked configuration, for start, reload and `signalbox check` alike."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from config.crosscheck import check
from config.diagnostics import Diagnostic, has_errors, in_order
from config.excerpts import place
from config.findings import Finding, Span
from config.inactive import check_inactive
from config.names import Names
from config.price_files import PriceFile, read_price_files
from config.references import expand
from config.schema import Config, DeploymentConfig, ProviderConfig
from config.secrets import check_literals
from config.source import Entry, Node, lines_of, node_at, read
from config.validation import Validated, validate

MAX_FILE_BYTES = 4 * 1024 * 1024
DEFAULT_FILE = "signalbox.yaml"
FILE_VARIABLE = "SIGNALBOX_CONFIG"
# What is wrong with a provider's options, in one sentence, or None.
ProviderCheck = Callable[[str, ProviderConfig], Iterable[Finding]]
# What an entry lacks cannot be told while parts of it could not be read.
_NEEDS_WHOLE_ENTRY = (
    "provider-options",
    "missing-key",
    "unused-key",
    "empty-limit",
    "model-disabled",
    "route-disabled",
    "never-matches",
)
# What is said of entries by comparison with others, and by their numbers.
_NEEDS_WHOLE_SECTION = ("unreachable-rule", "duplicate-name")
# Where a name is looked up: nothing can be said about it when that section could not be read.
_REFERS_TO = {
    "unknown-provider": ("providers",),
    "unknown-model": ("models", "routes"),
    "unknown-route": ("routes",),
    "unknown-budget": ("budgets",),
    "unknown-limits": ("limits",),
    "unknown-key-name": ("keys",),
    "no-models": ("models", "routes"),
}


@dataclass(slots=True, frozen=True)
class Loaded:
    """What loading gave. `config` is None exactly when a diagnostic is an error.

    `disabled_providers` maps the name of a provider that cannot be used to the reason; its deployments stay in
    `config`, and `is_disabled` tells them apart. `price_files` are the ones that it names, read and checked.
    """

    config: Config | None
    diagnostics: tuple[Diagnostic, ...] = ()
    disabled_providers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    price_files: tuple[PriceFile, ...] = ()

    @property
    def has_errors(self) -> bool:
        return has_errors(self.diagnostics)

    def is_disabled(self, deployment: DeploymentConfig) -> bool:
        """Whether the deployment cannot be called because its provider is disabled."""
        return deployment.provider in self.disabled_providers


def find_file(explicit: str | Path | None, environ: Mapping[str, str], folder: Path) -> Path | None:
    """The file to load: the explicit one, else SIGNALBOX_CONFIG, else signalbox.yaml in `folder`, else none.

    A file that was named is returned even if it does not exist: loading it then says so.
    """
    named = explicit or environ.get(FILE_VARIABLE)
    if named:
        return Path(named)
    usual = folder / DEFAULT_FILE
    return usual if usual.exists() else None


def load_path(
    path: Path,
    *,
    environ: Mapping[str, str],
    known_kinds: Collection[str],
    provider_problems: ProviderCheck | None = None,
) -> Loaded:
    """Load a file. A file that cannot be read is a diagnostic like any other problem; nothing is raised."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        message = f"Cannot read the configuration file: {error.strerror or error}."
        return Loaded(None, (Diagnostic("error", "unreadable-file", message, str(path)),))
    return load_bytes(
        data, file=str(path), environ=environ, known_kinds=known_kinds, provider_problems=provider_problems
    )


def load_bytes(
    data: bytes,
    *,
    file: str,
    environ: Mapping[str, str],
    known_kinds: Collection[str],
    provider_problems: ProviderCheck | None = None,
) -> Loaded:
    """Load a configuration from bytes; `file` is how diagnostics call it.

    `environ` is where `$NAME` comes from, `known_kinds` what a provider's kind may be, and `provider_problems`
    asks a kind about its options. Price files that it names are read too, from the folder of `file`. Nothing is raised:
    every problem is a diagnostic.
    """
    text, unreadable = _decode(data)
    if unreadable is not None:
        return Loaded(None, tuple(place([unreadable], file, "", None, {})))
    root, findings = read(text)
    if root is None and not findings:
        root = Node(Span(0, 0, 0, 0), entries={})
    if root is not None and root.entries is None:
        hint = "Start with 'providers:' and 'models:'; signalbox.example.yaml shows all sections."
        findings.append(Finding("error", "wrong-type", "The file must be keys and values.", span=root.span, hint=hint))
    if root is None or root.entries is None:
        return Loaded(None, in_order(place(findings, file, text, root, {})))
    return _check(root, findings, _Input(file, text, environ, known_kinds, provider_problems))


@dataclass(slots=True, frozen=True)
class _Input:
    """What the checks are about."""

    file: str
    text: str
    environ: Mapping[str, str]
    known_kinds: Collection[str]
    provider_problems: ProviderCheck | None


def _check(root: Node, findings: list[Finding], given: _Input) -> Loaded:
    expanded = expand(root, given.environ)
    findings += [*expanded.findings, *check_literals(root)]
    validated = validate(expanded, root)
    findings += validated.findings
    related = list(check(validated.config, _names(root), disabled=expanded.disabled, known_kinds=given.known_kinds))
    explained = {f.path[1] for f in related if f.severity != "info" and f.path is not None and f.path[0] == "providers"}
    of_kinds = _provider_findings(validated.config, {*expanded.disabled, *explained}, related, given)
    prices, of_names, of_prices = read_price_files(validated.config.price_files, Path(given.file).parent)
    findings += _worth_saying((*related, *of_kinds, *of_names, *check_inactive(validated.config)), validated)
    placed = place(findings, given.file, given.text, root, expanded.from_environ)
    diagnostics = in_order((*placed, *of_prices))
    config = None if has_errors(diagnostics) else validated.config
    return Loaded(config, diagnostics, MappingProxyType(dict(expanded.disabled)), prices)


def _provider_findings(
    config: Config, excused: Collection[str | int], related: Iterable[Finding], given: _Input
) -> Iterator[Finding]:
    """What a provider's own kind has to say about its row; only the kind knows which options it takes.

    Of `excused` providers it is known already that they cannot be built: only single options are spoken of.
    """
    if given.provider_problems is None:
        return
    told = {finding.path for finding in related if finding.severity == "error"}
    for name, provider in config.providers.items():
        if provider.kind not in given.known_kinds:
            continue
        for finding in given.provider_problems(name, provider):
            if finding.path not in told and (finding.path != ("providers", name) or name not in excused):
                yield finding


def _worth_saying(findings: Iterable[Finding], validated: Validated) -> Iterator[Finding]:
    """Without what only follows from a mistake in the same place, which was reported already."""
    for finding in findings:
        if any((section,) in validated.wrong for section in _REFERS_TO.get(finding.code, ())):
            continue
        path = validated.original(finding.path) if finding.path is not None else None
        is_known = path is not None and path in validated.wrong
        is_vague = path is not None and finding.code in _NEEDS_WHOLE_ENTRY and not validated.is_whole(path)
        is_vague |= finding.code in _NEEDS_WHOLE_SECTION and not validated.is_whole_section(path)
        if not is_known and not is_vague:
            yield replace(finding, path=path)


def _decode(data: bytes) -> tuple[str, Finding | None]:
    if len(data) > MAX_FILE_BYTES:
        message = f"The file is larger than {MAX_FILE_BYTES // (1024 * 1024)} MiB."
        return "", Finding("error", "too-large", message)
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        lines = lines_of(before)
        span = Span(len(lines) - 1, len(lines[-1]), len(lines) - 1, len(lines[-1]) + 1)
        message = f"The file is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}."
        return "", Finding("error", "encoding", message, span=span, hint="Save it as UTF-8.")


def _names(root: Node) -> Names:
    def entries(section: str) -> Mapping[str, Entry]:
        entry = (root.entries or {}).get(section)
        return (entry.node.entries or {}) if entry is not None else {}

    keys = node_at(root, ("keys",)).items or []
    return Names(
        providers=frozenset(entries("providers")),
        models=frozenset(entries("models")),
        routes=frozenset(entries("routes")),
        budgets=frozenset(entries("budgets")),
        limits=frozenset(entries("limits")),
        teams=frozenset(entries("teams")),
        keys=frozenset(key.entries["name"].node.text for key in keys if key.entries and "name" in key.entries),
        provider_keys={name: tuple(entry.node.entries or ()) for name, entry in entries("providers").items()},
    )
