"""Router files while serving: a new one is taken over at once, and a bad or worse one changes nothing."""

import asyncio
import time
from pathlib import Path

import pytest

pytest.importorskip("numpy")

from config.settings import Settings
from gateway.assemble import Assembler
from tests.fakes.router_file import router_bytes
from tests.gateway.test_reload import Scene, config

WORSE = router_bytes(apgr=0.5, rows=402)


def learned(**more):
    return config(routes={"taught": {"strategy": "learned", "pool": ["m"], "router_file": "routers/x.router", **more}})


class TaughtScene(Scene):
    """A scene whose route has a router file, in another folder than the configuration."""

    def __init__(self, folder: Path) -> None:
        self.router = folder / "routers" / "x.router"
        self.router.parent.mkdir()
        super().__init__(folder)
        self.assembler = Assembler(Settings(), folder=folder)
        self.use(self.source)

    @property
    def live(self):
        return self.assembler.router_files._live["taught"]

    def learn(self, data: bytes, name: str = "x.router") -> None:
        """A file comes into being in one step, as `signalbox train` writes it."""
        part = self.router.with_name(".part")
        part.write_bytes(data)
        part.replace(self.router.with_name(name))

    def logged(self, text: str) -> int:
        return sum(text.encode() in line for line in self.stage.log.lines)


def in_taught_scene(tmp_path, work, **more):
    async def main():
        scene = TaughtScene(tmp_path)
        scene.learn(router_bytes(apgr=0.7, rows=400))
        scene.write(learned(**more))
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.live.version.endswith("-400"), scene.live.error
        assert scene.service.runtime.notices == ()
        await work(scene)

    asyncio.run(main())


def test_a_new_router_file_is_taken_over_once(tmp_path):
    async def work(scene):
        before = scene.service.pipeline
        assert (await scene.reloader.reload("file")).status == "unchanged"
        assert scene.service.pipeline is before
        scene.learn(router_bytes(apgr=0.8, rows=401))
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.live.version.endswith("-401")
        assert scene.service.pipeline is not before
        assert (await scene.reloader.reload("file")).status == "unchanged"

    in_taught_scene(tmp_path, work)


@pytest.mark.parametrize("data", [b"", b"SBXROUTE and no more", WORSE], ids=["empty", "broken", "worse"])
def test_a_bad_router_file_changes_nothing_but_what_is_said(tmp_path, data):
    async def work(scene):
        predictor = scene.live.predictor
        scene.learn(data)
        await scene.reloader.reload("file")
        assert scene.live.predictor is predictor
        assert any("router_file of route 'taught'" in notice for notice in scene.service.runtime.notices)
        assert scene.service.health.reload_error is None
        assert scene.logged("router file not in use") == 1
        assert (await scene.reloader.reload("file")).status == "unchanged"
        assert scene.logged("router file not in use") == 1, "the log may be in that folder: not said again"
        scene.learn(router_bytes(apgr=0.75, rows=403))
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.live.version.endswith("-403")
        assert scene.service.runtime.notices == ()

    in_taught_scene(tmp_path, work)


def test_a_worse_file_is_taken_over_where_a_person_asks_for_it(tmp_path):
    async def work(scene):
        scene.learn(WORSE)
        await scene.reloader.reload("prices")
        assert scene.live.version.endswith("-400"), "nobody asked to read it"
        await scene.reloader.reload("file")
        assert scene.live.version.endswith("-400")
        assert (await scene.reloader.reload("signal")).status == "reloaded"
        assert scene.live.version.endswith("-402")
        assert scene.service.runtime.notices == ()

    in_taught_scene(tmp_path, work)


def test_a_router_file_that_goes_away_stays_in_use(tmp_path):
    async def work(scene):
        predictor = scene.live.predictor
        scene.router.unlink()
        await scene.reloader.reload("file")
        assert scene.live.predictor is predictor
        assert any("cannot read x.router" in notice for notice in scene.service.runtime.notices)

    in_taught_scene(tmp_path, work)


def test_a_shadow_changes_with_its_own_file(tmp_path):
    async def work(scene):
        assert not scene.live.shadow.is_ready
        assert any("shadow_router_file" in problem for problem in scene.assembler.router_files.problems())
        scene.learn(WORSE, "y.router")
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.live.shadow.version.endswith("-402"), "a shadow decides nothing, so it may be worse"
        assert scene.live.version.endswith("-400")
        scene.write(learned())
        await scene.reloader.reload("file")
        assert scene.live.shadow is None

    async def run(scene):
        scene.write(learned(shadow_router_file="routers/y.router"))
        await scene.reloader.reload("file")
        await work(scene)

    in_taught_scene(tmp_path, run)


def test_a_gateway_starts_without_its_router_file(tmp_path):
    async def main():
        scene = TaughtScene(tmp_path)
        scene.write(learned())
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert not scene.live.is_ready
        assert "cannot read x.router" in scene.service.runtime.notices[0]
        scene.learn(router_bytes(rows=404))
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.live.is_ready

    asyncio.run(main())


def test_the_watcher_sees_router_files_in_other_folders(tmp_path):
    async def until(is_so):
        deadline = time.monotonic() + 5
        while not is_so():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    async def main():
        scene = TaughtScene(tmp_path)
        task = asyncio.ensure_future(scene.reloader.watch())
        await asyncio.sleep(0.3)
        scene.learn(router_bytes(rows=400))
        scene.write(learned())
        await until(lambda: "taught" in scene.assembler.router_files._live)
        await asyncio.sleep(0.3)  # now its folder is watched as well
        scene.learn(router_bytes(rows=405, apgr=0.8))
        await until(lambda: scene.live.version.endswith("-405"))
        scene.write("nonsense: 1\n")
        await until(lambda: scene.service.health.reload_error)
        scene.write(config())
        await until(lambda: not scene.assembler.router_files.paths)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
