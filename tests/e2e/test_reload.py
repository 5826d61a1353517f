"""The configuration changes under load, in all the ways operators change it, and no request notices."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import yaml

from tests.e2e.setup import KEY, key_row, standard_config
from tests.fakes.gateway import Gateway
from tests.fakes.http import send

pytestmark = pytest.mark.e2e
AUTH = {"authorization": f"Bearer {KEY}"}
BROKEN = 'models:\n  x: {deployments: [{provider: nobody, model: "m"}]}\nroutess: {}\n'


@pytest.fixture
def config(upstream):
    return standard_config(upstream)


def generation(config, number):
    """The same configuration with a model name that tells which one is in use."""
    models = config["models"] | {f"generation-{number}": {"deployments": [{"provider": "oa", "model": "up-gen"}]}}
    return config | {"models": models}


def listed(gateway):
    return {m["id"] for m in send(f"{gateway.base_url}/models", headers=AUTH).json["data"]}


def wait_for(gateway, name, timeout_s=30.0):
    deadline = time.monotonic() + timeout_s
    while name not in listed(gateway):
        assert time.monotonic() < deadline, f"{name} is not in use after {timeout_s} s:\n{gateway.output()[-2000:]}"
        time.sleep(0.02)


class Load:
    """Threads that ask all the time, whole and streamed, and remember what was not right."""

    def __init__(self, gateway, threads=3):
        self.count, self.wrong = 0, []
        self._gateway, self._stop = gateway, threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(i % 2 == 0,)) for i in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _run(self, stream):
        while not self._stop.is_set():
            try:
                answer = self._gateway.chat("chat-openai", headers=AUTH, stream=stream)
                if answer.status != 200 or answer.text != "You said: hello":
                    self.wrong.append((answer.status, answer.body[:500]))
            except Exception as error:
                self.wrong.append(repr(error))
            self.count += 1
            self._stop.wait(0.005)


def test_200_reloads_under_load_fail_no_request(config, upstream):
    with Gateway(config) as gateway:
        with Load(gateway) as load:
            for number in range(200):
                gateway.write(generation(config, number))
                if number % 20 == 7:  # the watcher alone
                    wait_for(gateway, f"generation-{number}")
                elif number % 2:
                    gateway.signal(signal.SIGHUP)
                    wait_for(gateway, f"generation-{number}")
                else:
                    answer = gateway.reload()
                    assert (answer.status, answer.json["status"]) == (200, "reloaded")
                    assert f"generation-{number}" in listed(gateway)
        assert load.wrong == []
        assert load.count > 200
        assert gateway.metric("signalbox_reloads_total", result="ok") >= 200
        assert gateway.metric("signalbox_reloads_total", result="refused") == 0
        assert gateway.metric("signalbox_config_valid") == 1


def test_a_bad_file_keeps_the_old_configuration_and_says_why(config):
    with Gateway(generation(config, 1)) as gateway:
        gateway.write(BROKEN)
        deadline = time.monotonic() + 30
        while gateway.metric("signalbox_config_valid") == 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        answer = gateway.reload()
        assert (answer.status, answer.json["status"]) == (409, "refused")
        problems = answer.json["diagnostics"]
        assert {p["line"] for p in problems} >= {2, 3}
        assert "routes" in str(problems)
        assert gateway.chat("generation-1", headers=AUTH).status == 200
        ready = send(f"{gateway.root_url}/readyz")
        assert ready.status == 200
        assert "nobody" in ready.body.decode() or "routess" in ready.body.decode()
        deadline = time.monotonic() + 20  # lines are written in batches
        while not any("nobody" in str(line) or "routess" in str(line) for line in gateway.logs()):
            assert time.monotonic() < deadline, gateway.output()
            time.sleep(0.02)
        assert gateway.metric("signalbox_reloads_total", result="refused") >= 1
        gateway.write(generation(config, 2))
        wait_for(gateway, "generation-2")
        assert gateway.metric("signalbox_config_valid") == 1
        assert "generation-1" not in listed(gateway)
        assert "nobody" not in send(f"{gateway.root_url}/readyz").body.decode()


def test_reload_needs_the_admin_key(gateway):
    url = f"{gateway.root_url}/admin/reload"
    assert send(url, {}).status == 401
    assert send(url, {}, headers=AUTH).status in (401, 403)
    assert send(url, method="GET").status in (401, 404, 405)


def test_a_file_that_is_gone_for_a_moment_does_no_harm(config):
    with Gateway(generation(config, 1)) as gateway:
        gateway.config_path.unlink()
        time.sleep(0.3)
        assert gateway.chat("generation-1", headers=AUTH).status == 200
        gateway.write(generation(config, 2))
        wait_for(gateway, "generation-2")


def test_symlink_swaps_as_kubernetes_does_them(config, tmp_path):
    mount = tmp_path / "mount"
    mount.mkdir()
    publish(mount, "..2026_01", generation(config, 1))
    (mount / "signalbox.yaml").symlink_to("..data/signalbox.yaml")
    with Gateway(config, env={"SIGNALBOX_CONFIG": str(mount / "signalbox.yaml")}) as gateway, Load(gateway, 2) as load:
        assert "generation-1" in listed(gateway)
        for number in range(2, 6):
            publish(mount, f"..2026_{number:02}", generation(config, number))
            wait_for(gateway, f"generation-{number}")
    assert load.wrong == []


def publish(mount: Path, name: str, config) -> None:
    """A new folder, and the link to it replaced in one step."""
    folder = mount / name
    folder.mkdir()
    (folder / "signalbox.yaml").write_text(yaml.safe_dump(config))
    fresh = mount / "..data_tmp"
    fresh.symlink_to(name)
    fresh.replace(mount / "..data")


def test_a_stream_keeps_the_configuration_it_began_with(config, upstream):
    from tests.fakes.script import with_pauses

    upstream.on(lambda request: with_pauses(_usual(request), 0.1))
    with Gateway(config) as gateway:
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(gateway.chat("chat-openai", "hello there", headers=AUTH, stream=True))
        )
        thread.start()
        upstream.wait_requests(1)
        del config["models"]["chat-openai"], config["providers"]["compat"]
        config["keys"] = [key_row("other", "sk-other")]
        gateway.write(config)
        assert gateway.reload().status == 200
        assert gateway.chat("second", headers=AUTH).status == 401
        thread.join(60)
    assert answers[0].text == "You said: hello there"
    assert answers[0].frames[-1] == "data: [DONE]"


def _usual(request):
    from tests.fakes.dialects.choose import answer

    return answer(request)


def test_workers_reload_together_and_add_up_their_metrics(config):
    with Gateway(generation(config, 1), workers=2) as gateway:
        for _ in range(40):
            assert gateway.chat("generation-1", headers=AUTH).status == 200
        # A worker adds what it counted to the common sums once a second; after that all workers tell the same.
        gateway.wait_metric("signalbox_requests_total", 40, model="generation-1")
        for _ in range(6):
            assert gateway.metric("signalbox_requests_total", model="generation-1") == 40
            assert gateway.metric("signalbox_request_duration_seconds_count", model="generation-1") == 40
            assert gateway.metric("signalbox_tokens_total", deployment="oa/up-gen", **{"class": "output"}) == 320
        gateway.write(generation(config, 2))
        assert gateway.reload().status == 200
        deadline = time.monotonic() + 30
        streak = 0
        while streak < 20:  # new connections go to either worker
            streak = streak + 1 if "generation-2" in listed(gateway) else 0
            assert time.monotonic() < deadline
        # A worker that dies is replaced, and what it counted stays.
        os.kill(gateway.children()[0], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while len(gateway.children()) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert gateway.metric("signalbox_requests_total", model="generation-1") == 40
        assert gateway.stop() == 0


def test_sigterm_lets_streams_end(config, upstream):
    from tests.fakes.script import with_pauses

    upstream.on(lambda request: with_pauses(_usual(request), 0.1))
    with Gateway(config, env={"SIGNALBOX_DRAIN_S": "12"}) as gateway:
        answers = []
        thread = threading.Thread(
            target=lambda: answers.append(gateway.chat("chat-openai", "hello there", headers=AUTH, stream=True))
        )
        thread.start()
        upstream.wait_requests(1)
        time.sleep(0.2)
        assert gateway.stop() == 0
        thread.join(60)
    assert answers[0].text == "You said: hello there"
    assert answers[0].frames[-1] == "data: [DONE]"
