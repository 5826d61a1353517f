"""Price files while serving: a changed one is taken over, and one with mistakes changes nothing but what is said."""

import asyncio
import json
from pathlib import Path

from config.settings import Settings
from gateway.assemble import Assembler
from providers.base import Usage
from routing.ask import Ask
from tests.gateway.test_reload import Scene, config

THOUSAND = Usage(input=1_000)


class PricedScene(Scene):
    """A scene whose one model has its price from a file in another folder than the configuration."""

    def __init__(self, folder: Path) -> None:
        self.prices = folder / "prices" / "own.json"
        self.prices.parent.mkdir()
        super().__init__(folder)
        self.assembler = Assembler(Settings(), folder=folder)
        self.use(self.source)

    def price(self, usd: object) -> None:
        part = self.prices.with_name(".part")
        part.write_text(json.dumps({"x": {"input_usd_per_mtok": usd, "output_usd_per_mtok": 0}}))
        part.replace(self.prices)

    @property
    def cost_nusd(self) -> int:
        decision = self.service.runtime.router.decide(Ask("m", {}))
        price = decision.candidates[0].price
        assert price is not None
        return price.cost_nusd(THOUSAND)


def in_priced_scene(tmp_path, work):
    async def main():
        scene = PricedScene(tmp_path)
        scene.price(1)
        scene.write(config(price_files=["prices/own.json"]))
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.cost_nusd == 1_000_000
        await work(scene)

    asyncio.run(main())


def test_a_changed_price_file_is_taken_over_once(tmp_path):
    async def work(scene):
        before = scene.service.pipeline
        assert (await scene.reloader.reload("file")).status == "unchanged"
        scene.price(2)
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.cost_nusd == 2_000_000
        assert scene.service.pipeline is not before
        assert (await scene.reloader.reload("file")).status == "unchanged"

    in_priced_scene(tmp_path, work)


def test_a_price_file_with_mistakes_changes_nothing_but_what_is_said(tmp_path):
    async def work(scene):
        scene.price("cheap")
        result = await scene.reloader.reload("file")
        assert result.status == "refused"
        assert scene.service.health.reload_error.startswith(f"{scene.prices}:1: Model 'x'")
        assert scene.cost_nusd == 1_000_000
        assert (await scene.reloader.reload("file")).status == "unchanged", "said once"
        scene.price(3)
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.service.health.reload_error is None
        assert scene.cost_nusd == 3_000_000

    in_priced_scene(tmp_path, work)


def test_a_price_file_that_goes_away_keeps_its_prices(tmp_path):
    async def work(scene):
        scene.prices.unlink()
        assert (await scene.reloader.reload("file")).status == "refused"
        assert scene.cost_nusd == 1_000_000
        scene.price(4)
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.cost_nusd == 4_000_000

    in_priced_scene(tmp_path, work)


def test_the_folder_of_a_price_file_is_watched(tmp_path):
    async def work(scene):
        assert scene.reloader._folders() == {tmp_path, scene.prices.parent}

    in_priced_scene(tmp_path, work)


def test_a_models_own_price_wins_over_the_file(tmp_path):
    async def work(scene):
        model = {"deployments": [{"provider": "one", "model": "x"}], "price": {"input_usd_per_mtok": 9}}
        scene.write(config(price_files=["prices/own.json"], models={"m": model}))
        assert (await scene.reloader.reload("file")).status == "reloaded"
        assert scene.cost_nusd == 9_000_000

    in_priced_scene(tmp_path, work)
