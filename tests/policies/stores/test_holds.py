"""What every store promises about holds: all meters or none, once per id, leases that end."""

from policies.stores.base import Denied, Granted, OpenHold, Unavailable
from tests.policies.stores.kinds import at_once, budget, per_minute


def test_a_hold_takes_and_a_settlement_books_what_was_used(store):
    day = budget(1000)
    assert store.hold("a", (day, 600)) == Granted((400,))
    held = store.balance(day)
    assert (held.spent, held.held, held.left, held.limit) == (0, 600, 400, 1000)
    store.dispatched("a")
    store.settle("a", 250)
    after = store.balance(day)
    assert (after.spent, after.held, after.left) == (250, 0, 750)
    assert after.end_s - after.start_s == 86_400
    assert store.open_holds() == []


def test_what_would_go_over_the_limit_is_denied_with_the_arithmetic(store):
    day = budget(1000)
    store.hold("a", (day, 300))
    store.settle("a", 300)
    store.hold("b", (day, 500))
    denied = store.hold("c", (day, 201))
    assert isinstance(denied, Denied)
    assert (denied.meter.id, denied.limit, denied.spent, denied.held, denied.asked) == (day.id, 1000, 300, 500, 201)
    assert denied.reset_s == store.clock.now_s + 43_200
    assert 43_199 <= denied.retry_s <= 43_200
    assert isinstance(store.hold("d", (day, 200)), Granted), "to the last unit"


def test_all_meters_or_none(store):
    team, company, slots = budget(1000), budget(500, name="company"), at_once(1)
    assert isinstance(store.hold("a", (team, 400), (company, 400), (slots, 1)), Granted)
    denied = store.hold("b", (team, 50), (company, 50), (slots, 1))
    assert isinstance(denied, Denied)
    assert denied.meter.id == slots.id
    assert denied.retry_s is None
    denied = store.hold("c", (team, 200), (company, 200))
    assert isinstance(denied, Denied)
    assert denied.meter.id == company.id
    assert store.balance(team).held == 400, "nothing was taken where the other meter said no"


def test_the_same_id_takes_once(store):
    day = budget(1000)
    first = store.hold("a", (day, 600))
    assert store.hold("a", (day, 600)) == first
    assert store.balance(day).held == 600


def test_a_settlement_counts_once_and_an_unknown_one_not_at_all(store):
    day = budget(1000)
    store.hold("a", (day, 600))
    store.settle("a", 100)
    store.settle("a", 100)
    store.settle("never held", 100)
    assert store.balance(day).spent == 100


def test_slots_come_back(store):
    slots = at_once(1)
    store.hold("a", (slots, 1))
    assert isinstance(store.hold("b", (slots, 1)), Denied)
    store.settle("a", 1)
    assert isinstance(store.hold("c", (slots, 1)), Granted)
    assert store.balance(slots).spent == 0


def test_more_for_a_hold(store):
    day = budget(1000)
    store.hold("a", (day, 600))
    assert store.extend("a", 300) == Granted((100,))
    denied = store.extend("a", 101)
    assert isinstance(denied, Denied)
    assert (denied.asked, denied.held) == (101, 900)
    assert isinstance(store.extend("a", -200), Granted), "less always fits"
    assert store.balance(day).held == 700
    assert isinstance(store.extend("gone", 1), Unavailable)


def test_more_used_than_held_is_charged_and_told(store):
    day = budget(1000)
    store.hold("a", (day, 100))
    store.settle("a", 130)
    assert store.balance(day).spent == 130
    assert store.store.reports.overruns == [("a", day.id, 30)]


def test_a_lease_that_ends_before_the_call_was_sent_is_released(store):
    day = budget(1000)
    store.hold("a", (day, 600), lease_s=30)
    store.pass_time(31)
    assert isinstance(store.hold("b", (day, 1000)), Granted)
    assert [hold.id for hold in store.store.reports.expired] == ["a"]


def test_a_lease_that_ends_after_the_call_was_sent_is_charged(store):
    day = budget(1000)
    store.hold("a", (day, 600), lease_s=30)
    store.dispatched("a")
    until_s = store.clock.now_s + 30
    store.pass_time(31)
    assert isinstance(store.hold("b", (day, 500)), Denied)
    assert (store.balance(day).spent, store.balance(day).held) == (600, 0)
    (flagged,) = store.store.reports.expired
    assert flagged == OpenHold("a", {day.id: 600}, until_s, is_dispatched=True)


def test_what_is_settled_after_its_lease_is_set_right(store):
    day = budget(1000)
    store.hold("sent", (day, 300), lease_s=30, is_dispatched=True)
    store.hold("unsent", (day, 300), lease_s=30)
    store.pass_time(31)
    assert store.balance(day).spent == 300
    store.settle("sent", 120)
    store.settle("unsent", 50)
    store.settle("sent", 120)
    assert store.balance(day).spent == 170


def test_a_renewed_lease_goes_on(store):
    day = budget(1000)
    store.hold("a", (day, 600), lease_s=30, is_dispatched=True)
    store.pass_time(20)
    store.renew(["a", "unknown"], 30)
    store.pass_time(20)
    assert store.balance(day).held == 600
    store.pass_time(11)
    assert store.balance(day).spent == 600


def test_what_was_held_in_one_window_is_charged_there(store):
    day = budget(1000)
    store.hold("a", (day, 600), lease_s=90_000)
    store.pass_time(43_201)
    assert isinstance(store.hold("b", (day, 1000)), Granted), "a new day"
    store.settle("a", 600)
    assert store.balance(day).spent == 0
    assert store.balance(day).held == 1000


def test_more_for_a_hold_of_a_window_that_ended_has_to_fit_there(store):
    day = budget(1000)
    store.hold("spent", (day, 700))
    store.settle("spent", 700)
    store.hold("a", (day, 200), lease_s=90_000)
    store.pass_time(43_201)
    store.hold("b", (day, 1000))
    assert isinstance(store.extend("a", 101), Denied)
    assert isinstance(store.extend("a", 100), Granted)
    assert isinstance(store.extend("a", 1), Denied)
    assert (store.balance(day).spent, store.balance(day).held) == (0, 1000)


def test_holds_are_listed(store):
    day, slots = budget(1000), at_once(5)
    store.hold("a", (day, 600), (slots, 1), lease_s=30)
    (shown,) = store.open_holds()
    assert shown == OpenHold("a", {day.id: 600, slots.id: 1}, store.clock.now_s + 30, is_dispatched=False)


def test_another_limit_for_the_same_meter_holds_at_once(store):
    store.hold("a", (budget(1000), 600))
    store.settle("a", 600)
    assert isinstance(store.hold("b", (budget(500), 1)), Denied)
    assert isinstance(store.hold("c", (budget(2000), 1400)), Granted)


def test_rolling_windows_free_what_has_left_them(store):
    minute = per_minute(60)
    for number in range(60):
        assert isinstance(store.hold(f"a{number}", (minute, 1)), Granted)
        store.settle(f"a{number}", 1)
    denied = store.hold("b", (minute, 1))
    assert isinstance(denied, Denied)
    assert 59 <= denied.retry_s <= 61.1
    store.pass_time(denied.retry_s + 0.001)
    assert isinstance(store.hold("c", (minute, 1)), Granted)


def test_settled_tokens_give_back_what_was_not_used(store):
    minute = per_minute(1000)
    store.hold("a", (minute, 900))
    assert isinstance(store.hold("b", (minute, 200)), Denied)
    store.settle("a", 100)
    assert isinstance(store.hold("b", (minute, 200)), Granted)
    assert store.balance(minute).spent == 100
    assert store.balance(minute).held == 200


def test_even_traffic_gets_its_limit_over_ten_windows(store):
    minute = per_minute(120)
    admitted = 0
    for number in range(10 * 240):  # twice as many as the limit allows, for ten windows
        if isinstance(store.hold(f"{number}", (minute, 1)), Granted):
            store.settle(f"{number}", 1)
            admitted += number >= 240  # the first window begins empty
        store.pass_time(0.25)
    assert abs(admitted - 9 * 120) <= 10
