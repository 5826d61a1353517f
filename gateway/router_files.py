"""The trained routers that routes name: read from disk when a configuration is taken over, kept by route."""

from pathlib import Path

from config.schema import Config
from routing.learned.live import LiveRouter, successor

# Inode, size and time of a change; None for a file that is not there.
_Stamp = tuple[int, int, int] | None


class RouterFiles:
    """Reads router files. `folder` is what relative paths start from: where the configuration file is.

    A file that is not there or cannot be used never stops anything: the route decides without it, or goes on with the
    one before, and `LiveRouter.error` says why. `paths` are all files in use, for whoever watches them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._live: dict[str, LiveRouter] = {}
        self._read: dict[Path, tuple[_Stamp, LiveRouter]] = {}
        self._is_asked = True  # at the start
        self._may_read = True

    @property
    def paths(self) -> frozenset[Path]:
        return frozenset(self._read)

    def expect(self, *, is_asked: bool, is_read: bool) -> None:
        """How the next `of` comes about.

        `is_asked`: a person asked for it, so that a file is taken over even if its report says it is worse. `is_read`
        is false where files that were read stay as they are.
        """
        self._is_asked, self._may_read = is_asked, is_read

    def of(self, config: Config) -> dict[str, LiveRouter]:
        """The router of every route that names a file."""
        before, self._read = self._read, {}
        live = {}
        for name, route in config.routes.items():
            if route.router_file is None:
                continue
            new = self._router(self._folder / route.router_file, before)
            found = successor(self._live.get(name), new, is_guarded=not self._is_asked)
            shadow = None
            if route.shadow_router_file is not None:
                shadow = self._router(self._folder / route.shadow_router_file, before)
            live[name] = found.with_shadow(shadow)
        self._live = live
        return live

    def have_changed(self) -> bool:
        """Whether a file in use is another one than the one that was read."""
        return any(_stamp(path) != stamp for path, (stamp, _) in self._read.items())

    def problems(self) -> list[str]:
        """What is wrong with the files in use, for the log and /readyz."""
        found = []
        for name, router in sorted(self._live.items()):
            for which, one in (("router_file", router), ("shadow_router_file", router.shadow)):
                if one is not None and one.error is not None:
                    found.append(f"{which} of route '{name}': {one.error}")
        return found

    def _router(self, path: Path, before: dict[Path, tuple[_Stamp, LiveRouter]]) -> LiveRouter:
        """A file is read once, however many routes name it, and again when it has changed."""
        known = self._read.get(path) or before.get(path)
        stamp = known[0] if known is not None and not self._may_read else _stamp(path)
        # A file may be written while it is read; with the stamp from before, it then counts as changed.
        router = known[1] if known is not None and known[0] == stamp else _load(path)
        self._read[path] = (stamp, router)
        return router


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load(path: Path) -> LiveRouter:
    try:
        return LiveRouter.from_bytes(path.read_bytes())
    except OSError as error:
        return LiveRouter.unusable(f"cannot read {path.name}: {error.strerror}")
