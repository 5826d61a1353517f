"""Why a request goes where it goes: the decision of the live code, and what that code had no need to work out.

Nothing is called and nothing is learned from an explanation. Money is in US dollars here, as everywhere outside.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

import orjson

from gateway.asking import ask_of, decide
from gateway.auth import ANONYMOUS
from gateway.runtime import Caller, Runtime
from gateway.wire import refusals
from gateway.wire.parse import parse_request
from routing.affinity import Stay
from routing.ask import Ask
from routing.choice import Choice, Group
from routing.classifier import DEFAULT_BOUNDARIES
from routing.constraints import NoCandidateError
from routing.decision import Decision, Deployment, Estimate
from routing.features import NAMES
from routing.learned.live import LiveRouter
from routing.plan import Plan
from routing.router import Router

_NUSD_PER_USD = 1_000_000_000
# What a question says beside the body of the request it is about.
_OWN = frozenset({"id", "prompt", "route", "headers", "tags", "key", "application"})
_TAGS = b"x-signalbox-tags"
_MAX_HEADER_BYTES = 2_000
_NONE = Estimate()


@dataclass(slots=True, frozen=True)
class Question:
    """A request to explain: the body of a chat call, the headers that routing reads, and the name of a key."""

    body: Mapping[str, Any]
    headers: Mapping[bytes, bytes]
    key: str | None


def object_in(raw: bytes) -> dict[str, Any]:
    """The JSON object that a body or a line of a file is. Raises RefusedError."""
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise refusals.bad_json(str(error)) from None
    if not isinstance(found, dict):
        raise refusals.bad_json("it is another JSON value")
    return found


def question_of(given: Mapping[str, Any], name: str | None) -> Question:
    """From {"prompt" or "messages", "route" or "model"?, "headers"?, "tags"?, "application"?, "key"?, ...}; everything
    else is part of the body. `name` is the model or route to ask for where `given` names none.

    Raises RefusedError that names the member.
    """
    body = {member: value for member, value in given.items() if member not in _OWN}
    prompt = given.get("prompt")
    if prompt is not None:
        if not isinstance(prompt, str):
            raise refusals.invalid_field("prompt", "'prompt' has to be a string; a conversation goes into 'messages'.")
        if body.get("messages") is not None:
            raise refusals.invalid_field("prompt", "'prompt' and 'messages' are both there; keep one of them.")
        body["messages"] = [{"role": "user", "content": prompt}]
    elif body.get("messages") is None:
        raise refusals.invalid_field("prompt", "'prompt' is missing, and so is 'messages'.", missing=True)
    body["model"] = given.get("route") or given.get("model") or name
    key = given.get("key")
    if not isinstance(key, str | None):
        raise refusals.invalid_field("key", "'key' has to be a string: the name of a key.")
    return Question(body, _headers(given), key)


def explain(runtime: Runtime, question: Question, arrived_s: float) -> dict[str, Any]:
    """The explanation of what would be decided now. `arrived_s` is Unix time, for rules that look at it.

    What chance decides is drawn and put back, so that traffic goes on as if nobody had asked. A request that no
    candidate can take has `error`, the error object its caller would get. Raises RefusedError where a request would not
    get as far as that.
    """
    caller = caller_of(runtime, question.key)
    router = runtime.router
    try:
        raw = orjson.dumps(question.body)
    except orjson.JSONEncodeError as error:  # what can be read can be too deep to be written
        raise refusals.bad_json(str(error)) from None
    request = parse_request("chat", raw, "explain")
    ask = ask_of(request, caller, question.headers, arrived_s)
    rng = router.world.rng
    state = rng.getstate()
    try:
        decision = decide(runtime, request, ask, caller)
    except refusals.RefusedError as refused:
        if not isinstance(refused.__cause__, NoCandidateError):
            raise
        decision = _empty(router.find(ask.name), refused.__cause__)
        return {"error": refused.refusal.error} | describe(router, ask, decision)
    finally:
        rng.setstate(state)
    return describe(router, ask, decision)


def describe(router: Router, ask: Ask, decision: Decision) -> dict[str, Any]:
    """A decision in full, ready for JSON.

    `quality` has every model that was considered or that the name stands for. `utility` is there where the strategy
    weighs one, `tier` is the classifier's where nothing decided on one.
    """
    plan = router.find(ask.name)
    found = decision.classification or ask.classify(_setting(plan, "boundaries") or DEFAULT_BOUNDARIES)
    stay = router.world.affinity.get(decision.session) if decision.session is not None else None
    choice = Choice(ask, (), router.world, stay=stay, classification=found)
    live: LiveRouter | None = _setting(plan, "router")
    quality = _quality(choice, plan, decision, live)
    tiers = {group.model: group.tier for group in reversed(plan.groups)}
    tiers |= {group.model: group.tier for group in plan.groups if group.tier == decision.tier}
    features = ask.features()
    return {
        "model": decision.candidates[0].model if decision.candidates else None,
        "asked": ask.name,
        "route": decision.route,
        "strategy": decision.strategy,
        "score": found.score,
        "tier": decision.tier if decision.tier is not None else found.tier,
        "nearest_tier": found.nearest,
        "confidence": found.confidence,
        "has_signal": found.has_fired,
        "task_type": found.task_type.value,
        "quality": quality,
        "candidates": [
            _candidate(choice, deployment, tiers.get(deployment.model), quality, decision.estimates)
            for deployment in decision.candidates
        ],
        "rejections": [
            {"model": one.deployment.model, "deployment": one.deployment.id, "reason": one.reason.value}
            for one in decision.rejections
        ],
        "rule": decision.rule,
        "arm": decision.arm,
        "mirror": decision.mirror,
        "relaxed": list(decision.relaxed),
        "stay": _stay(stay, decision),
        "router_version": decision.router_version or choice.router_version,
        "router_problem": live.error if live is not None else None,
        "shadow": decision.shadow,
        "application": ask.application(),
        "input_tokens": ask.input_tokens(),
        "summary": decision.summary,
        "features": dict(zip(NAMES, features.values, strict=True))
        | {
            "language": features.language,
            "task_type": features.task_type.value,
            "modality": features.modality.value,
            "tool_stage": features.tool_stage.value,
            "tokens": features.tokens,
            "messages": features.messages,
        },
    }


def header_value(router: Router, ask: Ask, decision: Decision) -> bytes:
    """The gist of a decision for the caller, as JSON of printable ASCII, at most 2,000 bytes.

    What does not fit is left out from the end of the lists, and `is_cut` says so. Nothing of the request's text is in
    it, and nothing of models that the caller's key does not allow.
    """
    whole = describe(router, ask, decision)
    shown: dict[str, Any] = {
        "score": round(whole["score"], 3),
        "tier": whole["tier"],
        "confidence": round(whole["confidence"], 3),
        "task_type": whole["task_type"],
        "candidates": [
            {"model": one["deployment"], "quality": None if one["quality"] is None else round(one["quality"], 3)}
            for one in whole["candidates"]
        ],
        "rejections": [
            {"model": one["deployment"], "reason": one["reason"]}
            for one in whole["rejections"]
            if ask.allowed is None or one["model"] in ask.allowed
        ],
    }
    text = _compact(shown)
    while len(text) > _MAX_HEADER_BYTES and (longer := max(shown["rejections"], shown["candidates"], key=len)):
        longer.pop()
        shown["is_cut"] = True
        text = _compact(shown)
    return text.encode()


def _compact(shown: Mapping[str, Any]) -> str:
    return json.dumps(shown, separators=(",", ":"))


def _headers(given: Mapping[str, Any]) -> Mapping[bytes, bytes]:
    headers = given.get("headers") or {}
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise refusals.invalid_field("headers", "'headers' has to be an object of names and texts.")
    found = {name.lower().encode(): value.encode() for name, value in headers.items()}
    tags = given.get("tags") or []
    tags = [tags] if isinstance(tags, str) else tags
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise refusals.invalid_field("tags", "'tags' has to be an array of strings.")
    application = given.get("application")
    if isinstance(application, str):
        tags = [*tags, f"application={application}"]
    if tags:
        found[_TAGS] = ",".join(tags).encode()
    return found


def caller_of(runtime: Runtime, key: str | None) -> Caller:
    """The caller with that key; without one, somebody who may use everything."""
    if key is None:
        return ANONYMOUS
    for caller in runtime.keys.values():
        if caller.name == key:
            return caller
    known = ", ".join(sorted({f"'{caller.name}'" for caller in runtime.keys.values()})) or "none at all"
    raise refusals.invalid_field("key", f"There is no key named '{key[:128]}'; there is {known}.")


def _empty(plan: Plan, error: NoCandidateError) -> Decision:
    """What can be said of a decision that could not be made."""
    return Decision(plan.name, plan.kind, (), error.rejections, plan.route, summary=plan.summary(), rule=error.rule)


def _setting(plan: Plan, name: str) -> Any:
    """What the route's strategy was built with, else the one of those that rules may set instead."""
    strategies = (plan.strategy, *plan.others.values())
    return next((found for one in strategies if (found := getattr(one, name, None)) is not None), None)


def _quality(choice: Choice, plan: Plan, decision: Decision, live: LiveRouter | None) -> dict[str, float]:
    """As the strategy has it; what it did not look at is worked out in the same way."""
    rejected = [rejection.deployment for rejection in decision.rejections]
    models: dict[str, Deployment] = {}
    for deployment in (*plan.deployments(), *decision.candidates, *rejected):
        models.setdefault(deployment.model, deployment)
    known = {model: estimate.quality for model, estimate in decision.estimates.items() if estimate.quality is not None}
    if models.keys() <= known.keys():
        return known
    choice.groups = tuple(Group(model, (deployment,)) for model, deployment in models.items())
    quality = choice.quality(live)
    return {model: quality[model] for model in models} | known


def _candidate(
    choice: Choice,
    deployment: Deployment,
    tier: str | None,
    quality: Mapping[str, float],
    estimates: Mapping[str, Estimate],
) -> dict[str, Any]:
    cost_nusd = choice.cost_nusd(deployment)
    utility = estimates.get(deployment.model, _NONE).utility
    return {
        "model": deployment.model,
        "deployment": deployment.id,
        "tier": tier,
        "quality": quality.get(deployment.model),
        "cost_usd": None if cost_nusd is None else cost_nusd / _NUSD_PER_USD,
        "latency_s": choice.latency_s(deployment),
        "utility": utility if utility is not None and isfinite(utility) else None,
    }


def _stay(stay: Stay | None, decision: Decision) -> dict[str, Any] | None:
    """Where the conversation has been, and whether that is why it goes where it goes."""
    if stay is None:
        return None
    return {
        "model": stay.model,
        "deployment": stay.deployment_id,
        "tier": stay.tier,
        "turns": stay.turns,
        "prefix_tokens": stay.prefix_tokens,
        "is_kept": decision.is_stay,
    }
