"""Kills a process with SIGKILL at every write of a script, one process per write; prints how many and what went wrong.

A program of its own because it forks: `python -m tests.policies.stores.killed FOLDER SEED`.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from random import Random

from policies.stores.entries import Ledger
from policies.stores.sqlite import SqliteStore
from tests.policies.stores.crashes import MODES, MortalDisk, do, expect, expected, script, state
from tests.policies.stores.kinds import Clock
from tests.policies.stores.model import Model

SEGMENT_BYTES = 1500  # a new file every few records


def run(folder, steps, at, mode, acknowledged):
    """The process that dies. What it has done it says through a pipe, as a gateway answers its clients."""
    clock = Clock()
    disk = MortalDisk(at, mode, lambda: os.kill(os.getpid(), signal.SIGKILL))
    store = SqliteStore(folder, clock, disk=disk, segment_bytes=SEGMENT_BYTES, has_thread=False)
    for step in steps:
        answer = do(store, clock, step)
        os.write(acknowledged, json.dumps(answer).encode() + b"\n")
    asyncio.run(store.close())


def killed(folder, steps, at, mode):
    """The answers of the steps that were done, and whether the process came to its end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(folder, steps, at, mode, writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answers = [json.loads(line) for line in pipe]
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
        raise RuntimeError("the process failed before it was killed")
    return answers, not os.WIFSIGNALED(status)


def wrong(folder, steps, answers):
    """What the next process finds, against what the last one had said it did; None where all is well."""
    model = Model()
    for step, answer in zip(steps, answers, strict=False):
        if expect(model, step) != answer:
            return f"{step} was answered {answer}"
    settled = set(model.entries)
    model.restart()
    clock = Clock(model.now_s)
    store = SqliteStore(folder, clock, has_thread=False)
    found, wanted = state(store), expected(model)
    under_way = None
    if found != wanted and len(answers) < len(steps):
        under_way = Model()  # its answer was on its way: done or not, both are right
        for step in steps[: len(answers) + 1]:
            expect(under_way, step)
        under_way.restart()
        clock.now_s = under_way.now_s
        found, also = state(store), expected(under_way)
        if found != also:
            return f"found {found}, wanted {wanted} or {also}"
    elif found != wanted:
        return f"found {found}, wanted {wanted}"
    asyncio.run(store.close())
    rows = {row["id"] for row in Ledger(folder).stream(0, 1e12) if not row["is_flagged"]}
    last = {step[1] for step in steps[len(answers) : len(answers) + 1] if step[0] == "settle"}
    if not settled <= rows <= settled | last:
        return f"the ledger has {sorted(rows)}, wanted {sorted(settled)}"
    if list(folder.glob("journal-*")):
        return "a journal is left"
    return None


def main():
    base, seed = Path(sys.argv[1]), int(sys.argv[2])
    steps = script(Random(seed), 22)
    problems, kills = [], 0
    for mode in MODES:
        for at in range(1000):
            folder = base / f"{mode}-{at}"
            answers, is_over = killed(folder, steps, at, mode)
            problem = wrong(folder, steps, answers)
            if problem:
                problems.append(f"{mode} write {at}: {problem}")
            if is_over:
                break
            kills += 1
    print(json.dumps({"kills": kills, "problems": problems}))


if __name__ == "__main__":
    main()
