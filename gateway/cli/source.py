"""Where a serving command's configuration comes from: a file, or the environment alone."""

from collections.abc import Mapping
from pathlib import Path

from config.defaults import default_config
from config.load import Loaded, find_file, load_bytes
from gateway.options import provider_problems
from gateway.reload import Source
from providers import registry


def open_source(named: Path | None, environ: Mapping[str, str], folder: Path) -> Source:
    """The configuration for a process started in `folder`; `named` is the file asked for, if any."""
    path = find_file(named, environ, folder)

    def load(data: bytes | None) -> Loaded:
        if data is None:
            return default_config(environ, env_keys=registry.env_keys(), base_urls=registry.base_urls())
        return load_bytes(
            data,
            file=str(path),
            environ=environ,
            known_kinds=registry.kinds(),
            provider_problems=provider_problems,
        )

    return Source(path, load)
