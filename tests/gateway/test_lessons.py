"""What one process learns, the others know and the next one too; and nothing that is broken or belongs to others."""

import asyncio
import functools
import time
from math import inf

import pytest

from gateway.caching.semantic.board import Board
from gateway.caching.semantic.labels import Served
from gateway.caching.semantic.lesson_files import LessonFiles
from gateway.caching.semantic.spaces import Spaces
from gateway.caching.shared import RedisAnswers
from gateway.caching.shared_lessons import RedisLessons
from policies.cache.rules import CacheRules
from policies.cache.semantic.lessons import Lesson, State
from policies.cache.semantic.namespace import Namespace, lesson_of
from policies.cache.semantic.rules import SemanticRules
from policies.cache.semantic.text import analyse
from tests.fakes.redis import RedisServer
from tests.gateway.replicas import namespace as new_namespace
from tests.gateway.semantic_scene import CAPITALS, WORDINGS

RULES = SemanticRules(max_wrong_hits=0.1, shadow_share=0.0001)
PRINT, OTHER = b"f" * 32, b"o" * 32


@functools.cache
def _lessons():
    """Of a namespace that serves in the end."""
    namespace, found = Namespace(RULES, False, lambda: 0.5), []
    for number, country in enumerate(list(CAPITALS)[:-3]):
        for place, wording in enumerate(WORDINGS):
            text, key = analyse(wording.format(country)), b"%16d%16d" % (number, place)
            look = namespace.look(text)
            lesson = lesson_of(look, is_right=look.best is not None and look.best.key[:16] == key[:16], asked=key)
            if lesson is not None:
                namespace.take(lesson, text)
                found.append(lesson)
            namespace.add(key, text)
    assert namespace.threshold < inf
    return found


class Process:
    """What one process knows, and its way to the others."""

    def __init__(self, store, secret=b"s" * 32):
        self.warnings, self.troubles = [], []
        self.spaces = Spaces(lambda: 0.5)
        self.board = Board(self.spaces, self._warn)
        self.board.use(store, lambda name, partition: (f"{name}/{partition}".encode() + secret)[:64])
        self.open(PRINT)

    def _warn(self, event, **more):
        (self.troubles if "reason" in more else self.warnings).append((event, more))

    def open(self, fingerprint, said="What is the capital of Peru?", partition="key:ann"):
        """As if somebody had asked this."""
        key = fingerprint[:4] + said.encode()
        self.spaces.add(fingerprint, RULES, (partition, "m", "m"), key, analyse(said), None)

    def learn(self, lessons, fingerprint=PRINT):
        for lesson in lessons:
            assert self.spaces.learn(fingerprint, lesson)

    async def hear(self, fingerprint=PRINT):
        """How many labels it has after it has told and heard. (A busy machine may keep Redis waiting too long.)"""
        deadline = time.monotonic() + 20
        self.board.touch(fingerprint)
        while not await self.board.turn():
            assert time.monotonic() < deadline, self.troubles
        return self.space(fingerprint).labels

    def space(self, fingerprint=PRINT):
        return self.spaces.find(fingerprint)

    @property
    def threshold(self):
        return self.space().namespace.threshold


@pytest.fixture(scope="module")
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["files", "redis"])
def play(request, tmp_path):
    """Runs a story with what makes stores: all of them are the same place."""

    def run(story):
        async def scene():
            if request.param == "files":
                return await story(lambda: LessonFiles(tmp_path / "lessons"))
            url = request.getfixturevalue("redis").url
            name, links = new_namespace(), []

            def store():
                links.append(RedisAnswers(url, lambda _: None, namespace=name))
                links[-1].use(CacheRules(is_shared=True))
                return RedisLessons(links[-1])

            try:
                return await story(store)
            finally:
                for one in links:
                    await one.close()

        return asyncio.run(scene())

    return run


def test_others_and_the_next_one_know_what_one_has_learnt(play):
    async def story(store):
        one, other = Process(store()), Process(store())
        for at in range(0, len(_lessons()), 50):
            one.learn(_lessons()[at : at + 50])
            await one.hear()
            assert await other.hear() == one.space().labels
        assert other.threshold == pytest.approx(one.threshold)
        assert one.threshold < inf
        assert other.board.heard == len(_lessons())
        assert await one.hear() == await one.hear() == len(_lessons()), "its own lessons are no news"
        following = Process(store())
        assert await following.hear() == len(_lessons())
        assert following.threshold == one.threshold
        assert following.space().namespace.state().doubted == one.space().namespace.state().doubted
        following.learn([_wrong(b"w")])
        following.learn([_wrong(b"x")])
        assert await following.hear() == await one.hear() == await other.hear() == len(_lessons()) + 2
        assert one.warnings == other.warnings == following.warnings == []

    play(story)


def _wrong(asked):
    one = _lessons()[0]
    return Lesson(one.kept, asked, one.family, one.row, is_right=False)


def test_what_was_learnt_before_it_could_be_read_is_not_lost(play):
    async def story(store):
        one, other = Process(store()), Process(store())
        one.learn(_lessons()[:100])
        await one.hear()
        other.learn(_lessons()[100:130])
        assert await other.hear() == 130
        assert await one.hear() == 130
        one.spaces.clear()  # as if there was no room
        one.open(PRINT)
        one.learn([_wrong(b"w")])
        assert await one.hear() == 131
        assert await one.hear() == 131

    play(story)


def test_the_same_two_answers_are_one_piece_of_evidence(play):
    async def story(store):
        processes = [Process(store()) for _ in range(4)]
        right = [one for one in _lessons() if one.is_right][:20]
        for one in processes:
            one.learn(right)
        for _ in range(2):
            for one in processes:
                await one.hear()
        assert [one.space().labels for one in processes] == [20] * 4
        assert await Process(store()).hear() == 20
        wrong = _wrong(b"w")
        for one in processes:
            one.learn([wrong])
        assert [[await one.hear() for one in processes] for _ in range(2)][1] == [24] * 4

    play(story)


def test_nothing_is_learnt_from_other_namespaces_secrets_and_formats(play, monkeypatch):
    async def story(store):
        one = Process(store())
        one.learn(_lessons())
        await one.hear()
        stranger, elsewhere = Process(store(), b"t" * 32), Process(store())
        elsewhere.open(OTHER)
        assert (await stranger.hear(), await elsewhere.hear(OTHER)) == (0, 0)
        renamed = Process(store())
        renamed.spaces.clear()
        renamed.open(PRINT, partition="key:bob")
        assert await renamed.hear() == 0
        monkeypatch.setattr("gateway.caching.semantic.board.format_id", lambda: b"other tables")
        assert await Process(store()).hear() == 0

    play(story)


def test_feedback_finds_a_hit_in_whichever_process_and_once(play):
    async def story(store):
        one, other = Process(store()), Process(store())
        one.learn(_lessons())
        hits = [Served(PRINT, "key:ann", "m", f"{at:016x}", _wrong(b"%d" % at)) for at in range(3)]
        for at, hit in enumerate(hits):
            one.board.note_hit("ann", f"req_{at}", hit)
        await one.hear()
        assert await other.board.take_hit("bob", "req_0") is None
        found = await other.board.take_hit("ann", "req_0")
        assert found.lesson.row == pytest.approx(hits[0].lesson.row)
        assert found._replace(lesson=None) == hits[0]._replace(lesson=None)
        assert await one.board.take_hit("ann", "req_0") is None
        assert (await one.board.take_hit("ann", "req_1")).entry_id == hits[1].entry_id
        absent = Process(store())
        absent.spaces.clear()
        absent.board.tell_absent(found)
        assert await absent.board.turn()
        assert await one.hear() == len(_lessons()) + 1

    play(story)


def test_a_file_that_cannot_be_read_is_put_aside(tmp_path):
    folder = tmp_path / "lessons"

    async def story():
        one = Process(LessonFiles(folder))
        one.open(OTHER)
        one.learn(_lessons())
        await one.hear()
        (path,) = folder.glob("*.lessons")
        good = path.read_bytes()
        one.learn(_lessons()[:5], OTHER)
        await one.hear(OTHER)
        (foreign,) = {*folder.glob("*.lessons")} - {path}
        lines = good.split(b"\n")
        spoilt = {
            "another's": foreign.read_bytes(),
            "no text": bytes(range(256)) * 50,
            "empty": b"",
            "another head": good.replace(b"lessons", b"sermons"),
            "a line less": b"\n".join([*lines[:9], b"AAAA", *lines[10:]]),
            "a letter": good[:5000] + bytes([good[5000] ^ 1]) + good[5001:],
        }
        for name, data in spoilt.items():
            path.write_bytes(data)
            next_one = Process(LessonFiles(folder))
            assert await next_one.hear() == 0, name
            ((event, more),) = next_one.warnings
            assert "cannot be read" in event, name
            assert more["place"] in path.name
            assert path.with_suffix(".broken").read_bytes() == data
            next_one.learn(_lessons()[:7])
            assert await next_one.hear() == 7
            assert await Process(LessonFiles(folder)).hear() == 7, f"{name}: it begins anew"
        path.write_bytes(good + lines[-2][:40])
        torn = Process(LessonFiles(folder))
        assert await torn.hear() == len(_lessons()), "half a line at the end is of somebody who died"
        assert torn.warnings == []
        assert path.read_bytes() == good

    asyncio.run(story())


def test_files_are_shortened_and_the_oldest_go(tmp_path, monkeypatch):
    folder = tmp_path / "lessons"
    monkeypatch.setattr("gateway.caching.semantic.lesson_files._LONGEST", 40_000)
    monkeypatch.setattr("gateway.caching.semantic.lesson_files._SHORTENED", 20_000)
    monkeypatch.setattr("gateway.caching.semantic.lesson_files._MOST_HITS_BYTES", 2_000)

    async def story():
        one, other = Process(LessonFiles(folder)), Process(LessonFiles(folder))
        lessons = _lessons()[:300]
        for at in range(0, len(lessons), 20):
            one.learn(lessons[at : at + 20])
            assert await one.hear() == await other.hear() == at + 20
        (path,) = folder.glob("*.lessons")
        assert path.stat().st_size < 42_000
        assert 60 < await Process(LessonFiles(folder)).hear() < 250
        for at in range(40):
            one.board.note_hit("ann", f"req_{at}", Served(PRINT, "key:ann", "m", "e", _wrong(b"w")))
            await one.board.turn()
        assert sum(file.stat().st_size for file in folder.glob("hits*")) < 5_000
        assert await other.board.take_hit("ann", "req_39") is not None
        assert await other.board.take_hit("ann", "req_0") is None

    asyncio.run(story())
    (path,) = folder.glob("*.lessons")
    old = time.time() - 31 * 86_400
    monkeypatch.setattr("time.time", lambda: old + 62 * 86_400)
    assert asyncio.run(Process(LessonFiles(folder)).hear()) == 0
    assert not path.exists()


def test_while_the_store_is_away_everything_waits(tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")

    async def story():
        one = Process(LessonFiles(blocked))
        one.board.note_hit("ann", "req_0", Served(PRINT, "key:ann", "m", "e", _wrong(b"w")))
        one.learn(_lessons())
        assert not await one.board.turn()
        assert not await one.board.turn()
        assert await one.board.take_hit("ann", "req_0") is None
        assert len(one.troubles) == 1
        assert one.space().labels == len(_lessons())
        blocked.unlink()
        assert await one.board.turn()
        assert await Process(LessonFiles(blocked)).hear() == len(_lessons())
        assert await one.board.take_hit("ann", "req_0") is not None

    asyncio.run(story())


def test_namespaces_that_are_gone_leave_nothing_behind(tmp_path):
    async def story():
        one = Process(LessonFiles(tmp_path))
        for number in range(300):
            fingerprint = number.to_bytes(32)
            one.open(fingerprint)
            await one.hear(fingerprint)
            if number % 10:
                one.spaces.forget("key:ann")
        assert len(one.board) <= 2 * len(list(one.spaces)) + 100

    asyncio.run(story())


def test_a_process_that_ends_tells_what_it_learnt_last(tmp_path):
    async def story():
        one = Process(LessonFiles(tmp_path))
        task = asyncio.create_task(one.board.run())
        await asyncio.sleep(0)
        one.learn(_lessons()[:9])
        task.cancel()
        await asyncio.wait((task,))
        assert await Process(LessonFiles(tmp_path)).hear() == 9

    asyncio.run(story())


def test_redis_that_has_something_else_there(redis):
    async def story():
        name = new_namespace()
        answers = RedisAnswers(redis.url, lambda _: None, namespace=name)
        answers.use(CacheRules(is_shared=True))
        try:
            one = Process(RedisLessons(answers))
            one.learn(_lessons()[:9])
            await one.hear()
            (key,) = redis.ask("KEYS", f"*{name}*:l:*")
            redis.ask("XADD", key, "*", "r", b"SB1-" + bytes(60))
            assert await one.hear() == 9
            next_one = Process(RedisLessons(answers))
            assert await next_one.hear() == 0
            assert len(one.warnings) == len(next_one.warnings) == 1
            redis.ask("SET", key, "text")
            assert await next_one.hear() == 0
            next_one.learn(_lessons()[:3])
            assert await next_one.hear() == 3
            assert await Process(RedisLessons(answers)).hear() == 3
            assert 0 < redis.ask("TTL", key) <= 30 * 86_400
            answers.has_room = False
            next_one.learn(_lessons()[3:5])
            await next_one.hear()
            assert await Process(RedisLessons(answers)).hear() == 3
            for state in redis.ask("XRANGE", key, "-", "+"):
                assert b"Peru" not in state[1][b"r"]
        finally:
            await answers.close()

    asyncio.run(story())


def test_a_state_alone_is_enough_to_serve():
    """Where the older lessons were cut off."""
    namespace, (state,) = Namespace(RULES, False, lambda: 0.5), _states()
    namespace.restore([state])
    assert namespace.threshold == state.threshold < inf


def _states():
    namespace = Namespace(RULES, False, lambda: 0.5)
    for lesson in _lessons():
        namespace.take(lesson)
    assert isinstance(namespace.state(), State)
    return (namespace.state(),)
