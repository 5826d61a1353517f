"""`python -m tests.simulation`: replay one scenario as a readable story, or play many of them."""

import argparse
import gc
import sys
import time
from collections.abc import Iterator
from multiprocessing import Pool

from tests.simulation.player import Player, Verdict

_CHUNK = 500
_SHOWN_EVERY_S = 10.0
_YOUNG_OBJECTS = 10_000  # a scenario makes some thousand, most of which last until its end


def main() -> int:
    """0 where everything held, 1 with the first seed that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="replay this scenario and tell its story")
    parser.add_argument("--count", type=int, default=10_000, help="scenarios to play (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=120.0, help="stop after this time (default: %(default)s)")
    given = parser.parse_args()
    if given.seed is not None:
        return _replay(given.seed)
    return _play(given.first, given.count, given.jobs, given.minutes)


def _replay(seed: int) -> int:
    player = Player()
    verdict = player.play(seed)
    if not verdict.problems:
        verdict = player.first_failure([seed]) or verdict
    for at_s, who, what in verdict.story:
        print(f"{at_s:8.3f}  {who:<8} {what}")
    for problem in verdict.problems:
        print(f"WRONG: {problem}")
    print("Something is wrong." if verdict.problems else "Everything held.")
    return 1 if verdict.problems else 0


def _play(first: int, count: int, jobs: int, minutes: float) -> int:
    began = time.monotonic()
    chunks = [(start, min(start + _CHUNK, first + count)) for start in range(first, first + count, _CHUNK)]
    played, shown_s = 0, 0.0
    for size, failure in _results(chunks, jobs):
        played += size
        if failure is not None:
            print(f"\n{failure}")
            return 1
        taken_s = time.monotonic() - began
        if taken_s - shown_s > _SHOWN_EVERY_S:
            shown_s = taken_s
            rate = played / taken_s
            print(
                f"{played:>9,} of {count:,} scenarios, {rate:,.0f}/s, {(count - played) / rate / 60:.1f} min left",
                flush=True,
            )
        if taken_s > minutes * 60 and played < count:
            print("The time is over.")
            break
    print(f"{played:,} scenarios in {time.monotonic() - began:.0f} s: everything held.")
    return 0


def _results(chunks: list[tuple[int, int]], jobs: int) -> Iterator[tuple[int, Verdict | None]]:
    if jobs == 1:
        yield from map(_chunk, chunks)
        return
    with Pool(jobs) as pool:  # leaving it ends what still runs
        yield from pool.imap_unordered(_chunk, chunks)


def _chunk(seeds: tuple[int, int]) -> tuple[int, Verdict | None]:
    gc.freeze()  # what is imported stays
    gc.set_threshold(_YOUNG_OBJECTS)
    return seeds[1] - seeds[0], Player().first_failure(range(*seeds))


if __name__ == "__main__":
    sys.exit(main())
