"""Reloading in one process: what is kept, what is swapped, what is closed."""

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest
import yaml

from config.settings import Settings
from gateway.assemble import Assembler
from gateway.cli.source import open_source
from gateway.pipeline import Pipeline
from gateway.reload import Reloader, Source, build_runtime
from gateway.service import Service
from routing.ask import Ask
from tests.gateway.scripted import Stage


def config(**more):
    base = {
        "providers": {
            "one": {"kind": "openai", "api_key": "k", "base_url": "http://127.0.0.1:9/v1"},
            "two": {"kind": "openai", "api_key": "k", "base_url": "http://127.0.0.1:9/v1"},
        },
        "models": {"m": {"deployments": [{"provider": "one", "model": "x"}]}},
    }
    return base | more


class Scene:
    def __init__(self, folder: Path) -> None:
        self.file = folder / "signalbox.yaml"
        self.write(config())
        self.source = open_source(self.file, {}, folder)
        self.assembler = Assembler(Settings())
        self.stage = Stage({})
        data = self.source.read()
        runtime, _ = build_runtime(self.source, self.assembler, data)
        stage = self.stage
        self.service = Service(
            Settings(), stage.recorder, stage.loop, stage.clock, lambda: 0.0, lambda: "req_1", lambda: b"",
            Pipeline(runtime, stage.recorder, stage.loop, stage.clock, lambda: 0.0),
        )  # fmt: skip
        self.use(self.source)
        self.reloader.remember(data)

    def use(self, source: Source) -> None:
        self.reloader = Reloader(self.service, source, self.assembler, {})

    def write(self, content) -> None:
        self.file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def in_scene(tmp_path, work):
    async def main():
        await work(Scene(tmp_path))

    asyncio.run(main())


@pytest.mark.parametrize("content", ["models: [", "nonsense: 1\n", "", "\0", "{" * 5000, config(models={"m": {}})])
def test_a_bad_file_changes_nothing_but_what_is_said(tmp_path, content):
    async def work(scene):
        before = scene.service.pipeline
        scene.write(content)
        result = await scene.reloader.reload("file")
        assert result.status == "refused"
        assert scene.service.pipeline is before
        assert scene.service.health.reload_error
        assert scene.stage.value("signalbox_reloads_total", result="refused") == 1
        assert scene.stage.value("signalbox_config_valid") == 0
        # Other files of the folder change, our own log among them: it is not said again for the same bytes.
        assert (await scene.reloader.reload("file")).status == "unchanged"
        assert (await scene.reloader.reload("admin")).status == "refused"
        scene.write(config())
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.service.health.reload_error is None
        assert scene.stage.value("signalbox_config_valid") == 1

    in_scene(tmp_path, work)


def test_a_reload_cannot_open_a_guarded_gateway_to_the_world(tmp_path):
    async def work(scene):
        scene.assembler._settings = Settings(host="0.0.0.0")
        scene.write(config(keys=[{"name": "a", "sha256": "0" * 64}]))
        assert (await scene.reloader.reload("file")).status == "reloaded"
        scene.write(config())
        assert (await scene.reloader.reload("file")).status == "refused"
        assert "no keys" in scene.service.health.reload_error
        assert len(scene.service.runtime.keys) == 1

    in_scene(tmp_path, work)


def test_a_file_that_is_gone_and_a_fault_of_ours(tmp_path):
    async def work(scene):
        before = scene.service.pipeline
        scene.file.unlink()
        assert (await scene.reloader.reload("file")).status == "refused"

        def faulty(_):
            raise LookupError("a bug in the loader")

        scene.use(Source(None, faulty))
        assert (await scene.reloader.reload("signal")).status == "refused"
        assert scene.service.pipeline is before
        assert any(b"a bug in the loader" in line for line in scene.stage.log.lines)

    in_scene(tmp_path, work)


def test_unchanged_upstreams_keep_their_connections_and_removed_ones_lose_theirs(tmp_path):
    async def work(scene):
        before = dict(scene.service.runtime.upstreams)
        scene.write(config(models={"n": {"deployments": [{"provider": "one", "model": "y"}]}}))
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.service.runtime.upstreams["one"] is before["one"]
        new = config()
        del new["providers"]["two"]
        new["providers"]["one"]["api_key"] = "other"
        scene.write(new)
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert "two" not in scene.service.runtime.upstreams
        assert scene.service.runtime.upstreams["one"] is not before["one"]
        assert all(upstream.transport._pool._is_closed for upstream in before.values())
        assert not scene.service.runtime.upstreams["one"].transport._pool._is_closed

    in_scene(tmp_path, work)


def test_a_request_keeps_its_snapshot(tmp_path):
    async def work(scene):
        pipeline = scene.service.pipeline
        scene.write(config(models={"n": {"deployments": [{"provider": "one", "model": "y"}]}}))
        await scene.reloader.reload("file")
        assert pipeline.runtime.router.decide(Ask("m", {})).candidates
        assert "m" not in scene.service.runtime.models
        assert scene.service.pipeline is not pipeline

    in_scene(tmp_path, work)


def test_a_price_that_changes_takes_over_no_file(tmp_path):
    async def work(scene):
        before = scene.service.pipeline
        version = scene.service.runtime.version
        scene.write(config(models={"n": {"deployments": [{"provider": "one", "model": "y"}]}}))
        assert (await scene.reloader.reload("prices")).status == "reloaded"
        assert scene.service.pipeline is not before
        assert scene.service.runtime.version == version
        assert "m" in scene.service.runtime.models
        scene.write("nonsense: 1\n")
        await scene.reloader.reload("file")
        assert (await scene.reloader.reload("prices")).status == "reloaded"
        assert scene.service.health.reload_error, "the file on disk is as bad as before"
        assert scene.stage.value("signalbox_config_valid") == 0

    in_scene(tmp_path, work)


def test_a_refused_build_does_not_forget_when_prices_change(tmp_path):
    async def work(scene):
        scene.assembler.prices_until_s = 123.0
        loaded = scene.source.load(scene.source.read())
        broken = loaded.config.model_copy(update={"policies": None})
        with pytest.raises(AttributeError):
            scene.assembler.build(broken, loaded, "v")
        assert scene.assembler.prices_until_s == 123.0

    in_scene(tmp_path, work)


def test_the_watcher_lives_on(tmp_path):
    folder = tmp_path / "watched"
    folder.mkdir()

    async def main():
        scene = Scene(folder)
        task = asyncio.ensure_future(scene.reloader.watch())
        await asyncio.sleep(1.0)  # until it watches; nothing tells when it does
        for content, status in (("nonsense: 1\n", "refused"), (config(models={}), "ok")):
            scene.write(content)
            deadline = time.monotonic() + 60
            while not scene.stage.value("signalbox_reloads_total", result=status):
                assert time.monotonic() < deadline
                assert not task.done()
                await asyncio.sleep(0.05)
            (folder / "log").write_text("a line")
            await asyncio.sleep(0.4)
            assert scene.stage.value("signalbox_reloads_total", result=status) == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    shutil.rmtree(folder)
    assert os.path.lexists(tmp_path)
