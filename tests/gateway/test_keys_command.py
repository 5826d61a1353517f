"""`signalbox keys`, in a state folder and through a running gateway."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from gateway.cli.main import signalbox
from gateway.keys.ring import digest_of
from tests.fakes.gateway import ADMIN_KEY, Gateway, free_port
from tests.fakes.http import send

Keys = Callable[..., Result]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """The command with a state folder, or another environment."""

    def run(*arguments: str, **env: str) -> Result:
        names = {"SIGNALBOX_STATE_DIR": "", "SIGNALBOX_REDIS_URL": "", "SIGNALBOX_ADMIN_KEY": ""}
        return CliRunner().invoke(
            signalbox, ["keys", *arguments], env=names | (env or {"SIGNALBOX_STATE_DIR": str(tmp_path)})
        )

    return run


def entries(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def test_a_key_from_its_beginning_to_its_end(keys: Keys, tmp_path: Path) -> None:
    made = keys("new", "shop", "--model", "auto", "--model", "small", "--note", "owner=ada", "--expires-in", "90d")
    secret = made.stdout.strip()
    assert made.exit_code == 0
    assert len(secret) == 46
    listed = json.loads(keys("list", "--json").stdout)
    assert [(one["name"], one["models"], one["metadata"]) for one in listed] == [
        ("shop", ["auto", "small"], {"owner": "ada"})
    ]
    rotated = keys("rotate", "shop", "--overlap", "24h")
    assert rotated.stdout.strip() not in ("", secret)
    assert "goes on until" in rotated.stderr
    assert json.loads(keys("disable", "shop", "--json").stdout)["state"] == "disabled"
    assert json.loads(keys("enable", "shop", "--json").stdout)["state"] == "active"
    assert "sb-" in keys("show", "shop").stdout
    assert keys("delete", "shop").exit_code == 0
    assert keys("list", "--json").stdout.strip() == "[]"
    assert [entry["action"] for entry in entries(tmp_path)] == [
        *("create_key", "rotate_key", "disable_key", "enable_key", "delete_key")
    ]
    assert secret not in (tmp_path / "audit.jsonl").read_text()


def test_text_is_for_people(keys: Keys) -> None:
    keys("new", "shop", "--team", "t")
    table = keys("list").stdout.splitlines()
    assert table[0].split() == ["name", "state", "source", "prefix", "team", "expires", "models"]
    assert table[1].split()[:3] == ["shop", "active", "created"]
    assert "team           t" in keys("show", "shop").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("new", "shop"), 1, "already"),
        (("show", "nobody"), 1, "No key 'nobody'"),
        (("delete", "nobody"), 1, "No key 'nobody'"),
        (("new", "a b"), 1, "name"),
        (("new", "x", "--expires", "tomorrow"), 1, "expires"),
        (("new", "x", "--expires", "2030-01-01", "--expires-in", "1d"), 2, "exclude"),
        (("new", "x", "--expires-in", "soon"), 2, "time span"),
        (("new", "x", "--note", "owner"), 2, "NAME=TEXT"),
        (("rotate", "shop", "--overlap", "1w"), 2, "time span"),
        (("list", "--url", "http://127.0.0.1:9"), 2, "SIGNALBOX_ADMIN_KEY"),
    ],
)
def test_what_is_wrong_is_said(keys: Keys, arguments: tuple[str, ...], code: int, said: str) -> None:
    keys("new", "shop")
    found = keys(*arguments)
    assert (found.exit_code, said in found.stderr) == (code, True), found.output


def test_without_a_place_it_says_where_keys_can_be_kept(keys: Keys) -> None:
    found = keys("new", "shop", HOME="/nowhere")
    assert found.exit_code == 2
    for way in ("SIGNALBOX_STATE_DIR", "SIGNALBOX_REDIS_URL", "--url", "--for-config"):
        assert way in found.stderr


def test_an_entry_for_the_file_is_yaml_with_the_digest_of_the_secret(keys: Keys, tmp_path: Path) -> None:
    made = keys("new", "shop: #1".replace(" ", ""), "--for-config", "--tag", "a", "--note", "who=me: #")
    secret = made.stdout.strip()
    (entry,) = yaml.safe_load(made.stderr.partition("'keys:':\n")[2])
    assert entry["sha256"] == digest_of(secret.encode())
    assert (entry["name"], entry["tags"], entry["metadata"]) == ("shop:#1", ["a"], {"who": "me: #"})
    assert secret not in made.stderr
    assert not (tmp_path / "keys.db").exists()
    with_gateway = keys("new", "shop", "--for-config", HOME="/nowhere")
    assert with_gateway.exit_code == 0


def status(gateway: Gateway, secret: str = "") -> int:
    return send(f"{gateway.base_url}/models", headers={"x-api-key": secret}).status


@pytest.mark.e2e
def test_through_a_running_gateway(keys: Keys) -> None:
    with Gateway({"providers": {"sim": {"kind": "mock"}}}) as gateway:
        url, env = gateway.root_url, {"SIGNALBOX_ADMIN_KEY": ADMIN_KEY}
        assert status(gateway) == 200
        secret = keys("new", "shop", "--url", url, **env).stdout.strip()
        assert status(gateway) == 401
        assert status(gateway, secret) == 200
        assert [one["name"] for one in json.loads(keys("list", "--json", "--url", url, **env).stdout)] == ["shop"]
        assert "shop" in keys("show", "shop", "--url", url, **env).stdout
        rotated = keys("rotate", "shop", "--url", url, **env).stdout.strip()
        assert status(gateway, rotated) == 200
        assert keys("disable", "shop", "--url", url, **env).exit_code == 0
        assert status(gateway, rotated) == 401
        assert keys("enable", "shop", "--url", url, **env).exit_code == 0
        taken = keys("new", "shop", "--url", url, **env)
        assert (taken.exit_code, "already" in taken.stderr) == (1, True)
        refused = keys("list", "--url", url, SIGNALBOX_ADMIN_KEY="another-key")
        assert (refused.exit_code, "admin key" in refused.stderr) == (1, True)
        assert keys("delete", "shop", "--url", url, **env).exit_code == 0
        assert status(gateway) == 200  # on loopback it is open again without keys
    gone = keys("list", "--url", f"http://127.0.0.1:{free_port()}", **env)
    assert (gone.exit_code, "127.0.0.1" in gone.stderr) == (1, True)
