"""What kept answers saved, in lines of the ledger: every hit counts, and those alike are one line."""

import asyncio
from itertools import count

from gateway.caching.savings import Savings
from policies.outcome import CacheUse
from tests.fakes.virtual_time import run_virtual
from tests.gateway.scripted import Answer
from tests.gateway.test_cache_front import BROKEN, REPLY, STREAM, Scene


class Saving(Scene):
    """A cache that tells what it saves."""

    def __init__(self, *answers, **more):
        self.lines, numbers = [], count()
        self.savings = Savings(self.lines.extend, lambda: f"x-{next(numbers)}", lambda: 1234.5, most=5)
        super().__init__(*answers, **more)

    def use(self, rules):
        self.keeper.savings = self.savings
        super().use(rules)

    def told(self):
        self.savings.flush()
        lines, self.lines = [(line.ending, line.saved_calls, line.saved_nusd) for line in self.lines], []
        self.savings._write = self.lines.extend
        return lines


def play(work, *answers, **more):
    async def scene():
        return await work(Saving(*answers, **more))

    return run_virtual(scene())


def test_every_hit_counts_and_those_alike_are_one_line():
    async def work(scene):
        cost = (await scene.ask(x_signalbox_tags="blue")).cost_nusd
        assert scene.told() == [], "a call saves nothing"
        for _ in range(3):
            await scene.ask(x_signalbox_tags="blue")
        await scene.ask(x_signalbox_tags="blue", stream=True)
        scene.savings.flush()
        (line,) = scene.lines
        assert (line.saved_calls, line.saved_nusd, line.cost_nusd, line.ending) == (4, 4 * cost, 0, "hit")
        assert (line.key, line.tags, line.asked, line.model, line.deployment) == ("tester", ("blue",), "m", "m", "a/m")
        assert (line.provider, line.operation, line.purpose, line.at_s, line.usage) == (
            "a",
            "chat",
            "kept",
            1234.5,
            None,
        )
        scene.savings.flush()
        assert len(scene.lines) == 1
        await scene.ask("something else", caller="other")

    play(work, REPLY, REPLY)


def test_who_waited_for_the_call_of_another_saved_it_too():
    async def work(scene):
        whole = await asyncio.gather(*(scene.ask() for _ in range(5)))
        cost = next(end.cost_nusd for end in whole if end.cache is CacheUse.MISS)
        assert scene.told() == [("shared", 4, 4 * cost)]
        streams = await asyncio.gather(*(scene.ask("more", stream=True) for _ in range(3)))
        cost = next(end.cost_nusd for end in streams if end.cache is CacheUse.MISS)
        assert scene.told() == [("shared", 2, 2 * cost)]

    play(work, REPLY, STREAM)


def test_where_nobody_got_an_answer_nothing_was_saved():
    async def work(scene):
        await asyncio.gather(*(scene.ask() for _ in range(3)), return_exceptions=True)
        assert scene.told() == []

    mistake = Answer([0.5, b"caller", None], status=400)
    play(work, mistake, max_attempts=1)
    play(work, *[BROKEN] * 3, max_attempts=1)


def test_lines_do_not_wait_for_ever_nor_without_bound():
    async def work(scene):
        task = asyncio.create_task(scene.savings.run())
        await scene.ask()
        await scene.ask()
        await asyncio.sleep(11)
        assert len(scene.lines) == 1
        await scene.ask()
        task.cancel()
        await asyncio.wait((task,))
        assert len(scene.lines) == 2, "and what is left at the end"
        for number in range(6):
            await scene.ask(caller=f"{number}")
            await scene.ask(caller=f"{number}")
        assert len(scene.lines) == 2 + 5, "one more than may wait"

    play(work, *[REPLY] * 7)
