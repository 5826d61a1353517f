"""What a request itself wishes goes before where its conversation has been."""

import pytest

from providers.base import Usage
from routing.preferences import Preferences
from tests.routing.scene import EASY, ask, model, models, router

PROVIDERS = {"sim": {"kind": "mock"}, "other": {"kind": "mock"}}
MODELS = {"here": model("h", price=(1, 4)), "there": model("t", price=(0.1, 0.4), provider="other")}
ROUTES = {"auto": {"strategy": "balanced", "pool": ["here", "there"], "preset": "best"}}
CALL = {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]}
RESULT = {"role": "tool", "tool_call_id": "1", "content": "done"}


@pytest.fixture
def found():
    """A router that knows of a conversation at `here`, with all of its prompt in the cache there."""
    made = router(providers=PROVIDERS, models=MODELS, routes=ROUTES)
    decision = made.decide(ask("auto"))
    here = next(candidate for candidate in decision.candidates if candidate.model == "here")
    made.world.affinity.note(decision.session, here, None, Usage(input=100, cache_read=100_000, output=10))
    return made


def test_without_a_wish_the_conversation_stays(found):
    assert models(found.decide(ask("auto")))[0] == "here"


@pytest.mark.parametrize("wish", [{"order": ("other",)}, {"sort": "price"}])
def test_a_wish_goes_before_the_stay(found, wish):
    decision = found.decide(ask("auto", preferences=Preferences(**wish)))
    assert models(decision) == ["there", "here"]
    assert not decision.is_stay


def test_a_wish_for_an_order_does_not_part_a_call_from_its_result(found):
    messages = [{"role": "user", "content": EASY}, CALL, RESULT]
    decision = found.decide(ask("auto", messages=messages, preferences=Preferences(sort="price")))
    assert models(decision)[0] == "here"
