"""`python -m tests.faults.soak`: requests of every kind, many of them cut or abandoned, for as long as is asked, and
what the process of the gateway holds meanwhile.

Memory is flat where it has no slope. It may have steps: 20,000 lines of the log and as many records of the journal may
wait for a slow disk, and what such a moment took stays with Python's allocator.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from statistics import median

from tests.fakes.chaos import ChaosProxy, Fault, fin, reset
from tests.fakes.gateway import Gateway
from tests.fakes.http import connect, send
from tests.fakes.upstream import FakeUpstream
from tests.faults.other_apis import CROWD, STREAMED, STREAMED_CHAT, of_crowd
from tests.faults.setup import AUTH, Lane, lanes, matrix_config, timed

MIB = 1024 * 1024
# What may be added from a warm start to the end: memory in a thousand requests; pages of an allocator are no leak yet.
MOST_BYTES_PER_1000 = MIB
MOST_PAGES = 4 * MIB
MOST_FILES, MOST_TASKS = 20, 5
# Of a long run: all steps together, and the growth with every request, in the middle of all samples. It is more where
# every request leaves a small object.
MOST_STEPS_BYTES, MOST_BYTES_EACH = 48 * MIB, 24.0
_WARM_REQUESTS = 10_000
_BATCH = 10
_LEAST_SAMPLES = 6
_SHOWN_EVERY_S = 10.0
_PATIENCE_S = 20.0


@dataclass(frozen=True)
class Held:
    """What a gateway holds: bytes of memory, files and sockets, tasks."""

    memory: int
    files: int
    tasks: int

    def __str__(self) -> str:
        return f"{self.memory / MIB:7.1f} MiB {self.files:5} files {self.tasks:4} tasks"


class Soak:
    """Requests at one gateway. `requests` have been made so far; who takes part is in `lanes`, by kind."""

    def __init__(
        self, gateway: Gateway, upstream: FakeUpstream, chaos: ChaosProxy, take: Callable[[str], Lane]
    ) -> None:
        self._gateway, self._upstream = gateway, upstream
        self._dialects = [take(f"patient-{kind}") for kind in ("openai", "anthropic", "gemini")]
        self._cut = take("patient-openai")
        chaos.always(self._cut.upstream_model, _torn)
        self._numbers = count()
        self.requests = 0

    def batch(self, rounds: int) -> None:
        """So many rounds of five requests: answered, answered by another dialect, cut, refused and abandoned."""
        own = self._dialects[0]
        for number in (next(self._numbers) for _ in range(rounds)):
            api, other = of_crowd(number), self._dialects[number % 3]
            api.ask(self._gateway, own.sole)
            timed(self._gateway, other.sole, stream=number % 2 == 0)
            (STREAMED_CHAT, STREAMED)[number % 2].ask(self._gateway, self._cut.sole)
            send(self._gateway.base_url + api.path, b"{", headers=AUTH)
            with connect(self._gateway.root_url) as sock:
                sock.sendall(CROWD[number // 3 % len(CROWD)].request_bytes(own.sole))
                if number % 3 == 0:
                    sock.recv(100)
            self.requests += 5
        self._upstream.reset()  # it remembers every request

    def held(self) -> Held:
        """What the gateway holds when nothing is under way."""
        gateway, deadline = self._gateway, time.monotonic() + _PATIENCE_S
        while gateway.metric("signalbox_in_flight") > 0:
            assert time.monotonic() < deadline, "requests are under way that nobody waits for"
            time.sleep(0.02)
        files = sum(1 for _ in Path(f"/proc/{gateway.pid}/fd").iterdir())
        return Held(gateway.memory_bytes(), files, int(gateway.metric("signalbox_tasks")))


def excess(before: Held, after: Held, requests: int) -> list[str]:
    """What is more than it may be after so many requests."""
    most = MOST_PAGES + MOST_BYTES_PER_1000 * requests // 1000
    rows = (
        ("bytes", after.memory - before.memory, min(most, MOST_STEPS_BYTES)),
        ("files", after.files - before.files, MOST_FILES),
        ("tasks", after.tasks - before.tasks, MOST_TASKS),
    )
    return [f"{more} more {name}, at most {allowed} are allowed" for name, more, allowed in rows if more > allowed]


def slope(samples: Sequence[tuple[int, Held]]) -> float | None:
    """The bytes that memory grows by with every request, from (requests so far, what is held): the median of what was
    between two samples, which a step is not in. None for too few.
    """
    if len(samples) < _LEAST_SAMPLES:
        return None
    return median((held.memory - last.memory) / (now - then) for (then, last), (now, held) in pairwise(samples))


def _torn(number: int) -> Fault:
    return (fin, reset)[number % 2](STREAMED_CHAT.middle if number // 2 % 2 else STREAMED.middle)


def _run(seconds: float, requests: int) -> int:
    free: dict[str, Iterator[Lane]] = lanes()
    with FakeUpstream() as upstream, ChaosProxy(upstream.port) as chaos:
        urls = upstream.base_url, chaos.base_url, upstream.base_url, upstream.base_url
        with Gateway(matrix_config(*urls), is_fresh=True) as gateway:
            soak = Soak(gateway, upstream, chaos, lambda kind: next(free[kind]))
            soak.batch(100)
            print(f"{soak.requests:>9,} requests {soak.held()}", flush=True)
            began, shown_s = time.monotonic(), 0.0
            samples: list[tuple[int, Held]] = []
            while (taken_s := time.monotonic() - began) < seconds and soak.requests < requests:
                soak.batch(_BATCH)
                if taken_s - shown_s > _SHOWN_EVERY_S:
                    shown_s, held = taken_s, soak.held()
                    print(f"{soak.requests:>9,} requests {held} {taken_s:6.0f} s", flush=True)
                    if soak.requests >= _WARM_REQUESTS:  # pools, caches and allocators are full
                        samples.append((soak.requests, held))
            samples.append((soak.requests, soak.held()))
            wrong = excess(samples[0][1], samples[-1][1], samples[-1][0] - samples[0][0])
    each = slope(samples)
    if each is None:
        print("Too short to say whether memory has a slope.")
    else:
        print(f"Memory grows by {each:.1f} bytes with every request.")
        if each > MOST_BYTES_EACH:
            wrong.append(f"memory grows by {each:.1f} bytes with every request")
    for what in wrong:
        print(f"WRONG: {what}")
    return 1 if wrong else 0


def main() -> int:
    """0 where nothing stays, 1 with what does."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=1_000_000, help="at most so many (default: %(default)s)")
    given = parser.parse_args()
    return _run(given.seconds, given.requests)


if __name__ == "__main__":
    sys.exit(main())
