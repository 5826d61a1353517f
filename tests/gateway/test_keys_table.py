"""What is known of keys, and who may call because of it."""

from datetime import UTC, datetime

import pytest

from config.schema import Config
from gateway.auth import ANONYMOUS, authenticate
from gateway.keys.record import KeyRecord, change, make, rotate, state_of, view
from gateway.keys.ring import digest_of, ring_of
from gateway.keys.table import Known, Parts, build_keys
from gateway.wire.refusals import RefusedError

NOW_S = 1_800_000_000.0
SECRET = "sk-of-the-file"
TEAMS = {
    "company": {"models": ["a", "b", "c"], "tags": ["company=acme"]},
    "shop": {"parent": "company", "models": ["b", "c", "d"], "tags": ["team=shop"]},
}


def ring(*keys, **more):
    rows = [{"sha256": digest_of(SECRET.encode())} | key for key in keys]
    return ring_of(Config.model_validate({"keys": rows, "teams": TEAMS, "budgets": {"b": {"limit_usd": 1}}} | more))


def known(*records, **more):
    return Known({record.name: record for record in records}, **more)


def made(name="made", now_s=NOW_S, **settings):
    found = make({"name": name} | settings, now_s)
    return found.record, found.secret


def call(keys, secret, now_s=NOW_S):
    headers = {} if secret is None else {b"authorization": b"Bearer " + secret.encode()}
    return authenticate(headers, keys, lambda: now_s)


def refusal(keys, secret, now_s=NOW_S):
    with pytest.raises(RefusedError) as caught:
        call(keys, secret, now_s)
    return caught.value.refusal.status, caught.value.reason


def test_without_keys_everybody_may_call():
    assert call(build_keys(ring()), None) is ANONYMOUS


def test_the_first_key_closes_the_gateway():
    record, secret = made()
    keys = build_keys(ring(), known(record))
    assert call(keys, secret).name == "made"
    assert refusal(keys, None) == (401, "missing_api_key")
    assert refusal(keys, "sb-another") == (401, "invalid_api_key")


def test_a_disabled_key_alone_keeps_the_gateway_closed():
    record, secret = made(disabled=True)
    keys = build_keys(ring(), known(record))
    assert refusal(keys, None) == (401, "missing_api_key")
    assert refusal(keys, secret) == (401, "key_disabled")


def test_where_strangers_can_come_it_stays_closed_without_keys():
    assert refusal(build_keys(ring(), Known(may_be_open=False)), None) == (401, "missing_api_key")


def test_keys_that_cannot_be_read_open_nothing_and_deny_nothing():
    """Nobody knows whether there are keys: neither 200 for everybody, nor 401 for somebody's key."""
    keys = build_keys(ring(), Known(is_sure=False))
    assert refusal(keys, None) == (503, "keys_unavailable")
    assert refusal(keys, "sb-perhaps") == (503, "keys_unavailable")


def test_what_is_known_goes_on_while_the_store_is_down():
    record, secret = made()
    keys = build_keys(ring({"name": "file"}), known(record, is_sure=False))
    assert call(keys, secret).name == "made"
    assert call(keys, SECRET).name == "file"
    assert refusal(keys, "sb-perhaps") == (503, "keys_unavailable")
    assert refusal(keys, None) == (401, "missing_api_key")


def test_a_key_ends_when_it_says():
    end = datetime.fromtimestamp(NOW_S + 60, UTC).isoformat()
    record, secret = made(expires=end)
    for keys, given in (
        (build_keys(ring(), known(record)), secret),
        (build_keys(ring({"name": "file", "expires": end})), SECRET),
    ):
        assert call(keys, given, NOW_S + 59.9)
        assert refusal(keys, given, NOW_S + 60) == (401, "key_expired")
    assert state_of(record.settings, NOW_S + 59) == "active"
    assert state_of(record.settings, NOW_S + 60) == "expired"


def test_both_secrets_are_good_while_a_rotation_overlaps():
    record, old = made()
    rotated = rotate(record, 3600, NOW_S)
    keys = build_keys(ring(), known(rotated.record))
    assert call(keys, old, NOW_S + 3599).name == call(keys, rotated.secret).name == "made"
    assert refusal(keys, old, NOW_S + 3600) == (401, "key_expired")
    assert call(keys, rotated.secret, NOW_S + 1e9)


def test_a_rotation_without_overlap_ends_the_old_secret():
    record, old = made()
    rotated = rotate(record, 0, NOW_S)
    assert refusal(build_keys(ring(), known(rotated.record)), old) == (401, "invalid_api_key")


def test_the_old_secret_lives_no_longer_than_its_key():
    record, old = made(expires=datetime.fromtimestamp(NOW_S + 60, UTC).isoformat())
    keys = build_keys(ring(), known(rotate(record, 3600, NOW_S).record))
    assert refusal(keys, old, NOW_S + 61) == (401, "key_expired")


def test_two_rotations_in_a_row_keep_both_old_secrets_until_their_ends():
    record, first = made()
    second = rotate(record, 100, NOW_S)
    third = rotate(second.record, 200, NOW_S + 50)
    keys = build_keys(ring(), known(third.record))
    assert call(keys, first, NOW_S + 99)
    assert refusal(keys, first, NOW_S + 101) == (401, "key_expired")
    assert call(keys, second.secret, NOW_S + 249)
    assert rotate(third.record, 0, NOW_S + 1000).record.previous == ()


def test_models_are_what_key_team_and_parents_all_allow():
    record, secret = made(team="shop", models=["a", "b", "d", "e"], tags=["env=prod"])
    caller = call(build_keys(ring(), known(record)), secret)
    assert caller.models == {"b"}
    assert caller.tags == {"env=prod", "team=shop", "company=acme"}
    assert caller.team == "shop"


def test_a_team_alone_limits_the_models_of_its_keys():
    keys = build_keys(ring({"name": "file", "team": "shop"}))
    assert call(keys, SECRET).models == {"b", "c"}


@pytest.mark.parametrize("setting", ["team", "budget", "limits"])
def test_a_key_whose_limit_is_gone_from_the_file_is_no_key_without_limits(setting):
    record, secret = made(**{setting: "gone"})
    assert refusal(build_keys(ring(), known(record)), secret) == (503, "key_unusable")


def test_a_change_of_one_key_works_out_that_one_only():
    here = ring({"name": "file"})
    parts = Parts(here)
    records = [made(f"k{number}", models=["a"])[0] for number in range(3)]
    before = build_keys(here, known(*records), parts)
    changed = change(records[1], {"models": ["b"]})
    after = build_keys(here, known(records[0], changed), parts)
    assert after[records[0].settings.sha256] is before[records[0].settings.sha256]
    assert after[changed.settings.sha256].models == {"b"}
    assert records[2].settings.sha256 not in after
    assert after == build_keys(here, known(records[0], changed))


def test_a_key_of_the_file_goes_before_one_of_its_name():
    record, secret = made("file")
    keys = build_keys(ring({"name": "file"}), known(record))
    assert call(keys, SECRET).name == "file"
    assert refusal(keys, secret) == (401, "invalid_api_key")


def test_a_record_survives_its_storage():
    record, _ = made(
        team="shop",
        models=["a"],
        tags="one",
        metadata={"owner": "ada"},
        expires="2027-01-31",
        priority=True,
        default_model="a",
    )
    rotated = rotate(record, 60, NOW_S).record
    again = KeyRecord.from_json(rotated.to_json())
    assert again == rotated
    assert again.to_json() == rotated.to_json()


def test_a_change_takes_away_what_is_null_and_leaves_the_rest():
    record, _ = made(models=["a"], tags=["t"], metadata={"owner": "ada"})
    after = change(record, {"models": None, "disabled": True}).settings
    assert (after.models, after.tags, after.metadata, after.disabled) == (None, ("t",), {"owner": "ada"}, True)


@pytest.mark.parametrize(
    ("given", "state", "shown"),
    [
        ("2030-01-31", "active", "2030-01-31T00:00:00Z"),
        ("2030-01-31T12:00:00+02:00", "active", "2030-01-31T10:00:00Z"),
        ("0001-01-01T00:00:00+14:00", "expired", "0001-01-01T00:00:00+14:00"),
        ("9999-12-31T23:59:59-12:00", "active", "9999-12-31T23:59:59-12:00"),
    ],
)
def test_the_end_of_a_key_is_shown_in_utc(given, state, shown):
    record, _ = made(expires=given)
    found = view(record.settings, record, NOW_S)
    assert (found["state"], found["expires"]) == (state, shown)


def test_secrets_are_random_long_and_nowhere_in_what_is_kept_or_shown():
    secrets = {made()[1] for _ in range(100)}
    assert len(secrets) == 100
    assert {len(secret) for secret in secrets} == {3 + 43}  # 256 bits in base64
    record, secret = made()
    kept = record.to_json().decode() + str(view(record.settings, record, NOW_S))
    assert secret not in kept
    assert secret[10:] not in kept
    assert record.settings.sha256 not in str(view(record.settings, record, NOW_S))
    assert record.prefix == secret[:9]
