"""A gateway forked for a test is what an operator starts, and nothing of it outlives the test run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.fakes import forked
from tests.fakes.gateway import ROOT, Gateway
from tests.fakes.http import send

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sys.platform != "linux", reason="forks of what has been imported are trusted on Linux only"),
]
CONFIG = {"providers": {"sim": {"kind": "mock"}}}
_PATIENCE_S = 20.0

# Starts a gateway as tests do, says which, and waits for its own end.
_A_TEST_RUN = f"""
import sys
from tests.fakes.gateway import Gateway
with Gateway({CONFIG!r}) as gateway:
    print(gateway.pid, flush=True)
    sys.stdin.read()
"""


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_gone(*pids: int) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not all(map(is_gone, pids)):
        assert time.monotonic() < deadline, "they still run"
        time.sleep(0.01)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])


def started_at(pid: int) -> int:
    """In ticks since the machine started."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19])


def test_it_tells_and_does_what_one_started_anew_does():
    seen = []
    for is_fresh in (False, True):
        with Gateway(CONFIG, is_fresh=is_fresh) as gateway:
            answer = gateway.chat("sim/echo", "the same?")
            assert answer.status == 200
            pages = [send(f"{gateway.root_url}/{page}").json for page in ("readyz", "v1/models", "openapi.json")]
            told = (gateway.folder / "stderr").read_text()
            names = sorted(gateway.metrics())
            assert Path(f"/proc/{gateway.pid}/cwd").readlink() == gateway.folder
            for number, name in ((1, "stdout"), (2, "stderr")):
                assert Path(f"/proc/{gateway.pid}/fd/{number}").readlink() == gateway.folder / name
            assert gateway.stop() == 0
            assert gateway.logs()[-1]["event"] == "stopped"
            told = told.replace(str(gateway.port), "PORT").replace(str(gateway.folder), "FOLDER")
            seen.append((told, pages, names, answer.json["usage"], answer.json["choices"]))
    assert seen[0] == seen[1]


def test_each_is_a_process_of_its_own():
    with Gateway(CONFIG) as one, Gateway(CONFIG) as other:
        assert one._is_forked and other._is_forked
        assert one.pid != other.pid
        assert one.metric("process_start_time_seconds") > 0
        assert started_at(one.pid) <= started_at(other.pid)
        ids = {gateway.chat("sim/echo").headers["x-request-id"] for gateway in (one, other)}
        assert len(ids) == 2  # nobody inherited the other's randomness
        one.signal(signal.SIGKILL)
        wait_gone(one.pid)
        assert one.stop() == -signal.SIGKILL
        assert other.chat("sim/echo").status == 200
        other.signal(signal.SIGTERM)
        other.signal(signal.SIGTERM)
        assert other.stop() == 0


def test_a_start_that_fails_says_why_and_ends_with_one():
    gateway = Gateway({"providers": {"sim": {"kind": "moock"}}})
    with pytest.raises(AssertionError, match="moock"):
        gateway.__enter__()
    assert gateway.stop() == 1


def test_what_python_itself_reads_is_started_anew():
    for env in ({"PYTHONMALLOC": "malloc"}, {"TZ": "UTC"}, {"LD_PRELOAD": ""}, {"HTTP_PROXY": "http://x"}):
        assert not forked.can_fork_for(env)
    assert forked.can_fork_for({"SIGNALBOX_DRAIN_S": "1", "OPENAI_API_KEY": "x"})


@pytest.mark.parametrize("has_own_server", [True, False])
def test_nothing_outlives_a_test_run_that_is_killed(has_own_server):
    command = [sys.executable, "-c", _A_TEST_RUN]
    server = forked.ForkServer()
    env = os.environ | {forked.ADDRESS: server.address}
    if has_own_server:
        del env[forked.ADDRESS]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        gateway = int(run.stdout.readline())
        who_forked = parent(gateway)
        who_shared = parent(who_forked)
        assert (who_shared == server._process.pid) != has_own_server
        run.kill()
    wait_gone(gateway, who_forked, *[who_shared] * has_own_server)
    assert not is_gone(server._process.pid)
    server.close()
    wait_gone(server._process.pid)
