"""Goes on with a stream that broke: another call, told what the caller has, says the rest.

Only where nobody could tell the difference: an answer of plain text, and a model that is known to go on with what
another began. In every other case, and when the second call fails as well, the stream ends with its error event.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from gateway.attempt_run import AttemptRun, InterruptedStreamError, Limits, Sink
from gateway.attempts import AttemptEngine
from gateway.runtime import Runtime
from gateway.seam import Continued, KeptText, prefill_text
from policies.outcome import Attempt, Outcome
from policies.retry import CAP_TOKENS
from policies.verdicts import falls_back, may_repeat
from providers import lenient_json
from providers.base import Cause, ErrorKind, ProviderError, Request
from providers.bodyedit import edit
from providers.prefill import Prefill
from providers.tokens import estimate
from routing.decision import Decision, Deployment

_LIMITS = ("max_tokens", "max_completion_tokens")
# With one of these an answer is more than its text, or has a form that a second beginning would break.
_UNFIT = ("logprobs", "top_logprobs", "audio", "functions", "store", "background", "thinking", "reasoning")


class Continuer:
    """Runs requests whose broken streams are continued. `clock` gives monotonic seconds."""

    def __init__(
        self, runtime: Runtime, engine: AttemptEngine, loop: asyncio.AbstractEventLoop, clock: Callable[[], float]
    ) -> None:
        self._runtime = runtime
        self._engine = engine
        self._loop = loop
        self._clock = clock

    async def run(self, decision: Decision, outcome: Outcome, sink: Sink, limits: Limits) -> None:
        """What the engine's `run` does, with one call more where the stream broke. Raises what that raises."""
        kept = KeptText(sink)
        try:
            await self._engine.run(decision, outcome, kept, limits)
        except InterruptedStreamError as cut:
            broken = outcome.answered_by
            if broken is None or not await self._go_on(decision, outcome, kept, sink, limits, broken, cut.error):
                raise

    async def _go_on(
        self,
        decision: Decision,
        outcome: Outcome,
        kept: KeptText,
        sink: Sink,
        limits: Limits,
        broken: Attempt,
        error: ProviderError,
    ) -> bool:
        """Whether the caller has the whole answer now."""
        sent = kept.text()
        left = _output_left(outcome.request, broken, sent)
        if not _is_fit(outcome.request, kept, sent, error) or left is None:
            outcome.continuation = "unfit"
            return False
        budget = limits.retry.budget
        if _calls(outcome) >= limits.max_attempts or budget.tokens < 1:
            outcome.continuation = "no_budget"
            outcome.is_budget_empty = budget.tokens < 1
            return False
        for deployment in _able(decision, outcome, broken, error):
            request = _continuing(outcome.request, sent, deployment, left)  # before anything is taken for it
            ticket = self._runtime.guard.admit(deployment, limits.size)
            if ticket:
                budget.take()
                return await self._ask(request, deployment, ticket, outcome, kept, sink, limits, broken, sent)
        outcome.continuation = "no_candidate"
        return False

    async def _ask(
        self,
        request: Request,
        deployment: Deployment,
        ticket: int,
        outcome: Outcome,
        kept: KeptText,
        sink: Sink,
        limits: Limits,
        broken: Attempt,
        sent: str,
    ) -> bool:
        joined = Continued(sink, sent, kept.shared, broken.usage, include_usage=request.include_usage)
        # An outcome of its own, because what the caller was told in the head stays as it was.
        second = Outcome(request, outcome.caller, outcome.started, outcome.decision, attempts=outcome.attempts)
        outcome.continuation = "abandoned"  # until more is known
        guard, is_fresh = self._runtime.guard, False
        while True:
            run = AttemptRun(
                self._runtime, self._loop, self._clock, deployment, second, joined, limits, ticket, is_last=True
            )
            try:
                await run.attempt(fresh=is_fresh)
            except InterruptedStreamError:
                outcome.continuation = "failed"
                return False
            except ProviderError as error:
                ticket = 0
                if error.cause is Cause.UNSUPPORTED:
                    limits.retry.budget.give_back()  # nothing was sent
                if error.kind is ErrorKind.STALE and not is_fresh:
                    # A reused connection that died before any byte says nothing: once more, as for any other call.
                    outcome.stale_retries += 1
                    ticket, is_fresh = guard.admit(deployment, limits.size), True
                if not ticket:
                    outcome.continuation = "failed"
                    return False
            else:
                return True
            finally:
                if run.record.is_complete:  # also where whoever asked leaves right behind the last byte
                    outcome.continuation, outcome.joined = "ok", broken
                    outcome.answered_by, outcome.finish_reason = run.record, second.finish_reason
                    if limits.retry.budget.tokens < CAP_TOKENS:
                        limits.retry.budget.tokens += limits.retry.rules.budget_ratio


def _calls(outcome: Outcome) -> int:
    """How many calls count against the limit of the request."""
    return sum(
        attempt.kind is not ErrorKind.STALE and attempt.cause is not Cause.UNSUPPORTED for attempt in outcome.attempts
    )


def _able(decision: Decision, outcome: Outcome, broken: Attempt, error: ProviderError) -> Iterator[Deployment]:
    """Who may go on, best first: in the order of the decision who has not failed yet, then whose stream it was."""
    failed = [attempt.deployment for attempt in outcome.attempts if attempt.kind is not None]
    order = [deployment for deployment in decision.candidates if deployment not in failed]
    if may_repeat(error):
        order.append(broken.deployment)
    return (deployment for deployment in order if deployment.target.prefill is not None)


def _is_fit(request: Request, kept: KeptText, sent: str, error: ProviderError) -> bool:
    """Whether request, answer and failure allow to go on."""
    body, stem = request.body, prefill_text(sent)
    if request.operation != "chat" or not falls_back(error) or kept.is_finished or not stem:
        return False
    if any(body.get(name) for name in _UNFIT) or body.get("n") not in (None, 1):
        return False
    choice = body.get("tool_choice")
    if choice == "required" or isinstance(choice, dict) or body.get("reasoning_effort") not in (None, "none"):
        return False
    form = body.get("response_format")
    if form is not None and (not isinstance(form, dict) or form.get("type") != "text"):
        return False
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(messages[-1], dict):
        return False
    # A caller's own prefill stays one message with its answer, and a stop sequence is not found in two halves.
    return messages[-1].get("role") != "assistant" and not _ends_in_stop(stem, body.get("stop"))


def _ends_in_stop(text: str, stop: Any) -> bool:
    """Whether the text ends with the beginning of a stop sequence."""
    words = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    return any(text.endswith(word[:size]) for word in words if isinstance(word, str) for size in range(1, len(word)))


def _output_left(request: Request, broken: Attempt, sent: str) -> dict[str, int] | None:
    """The request's limits of output less what was said, as far as it has any; None where nothing is left."""
    said = broken.usage.completion_tokens if broken.usage is not None else estimate(sent)
    left = {name: request.body[name] - said for name in _LIMITS if type(request.body.get(name)) is int}
    return left if all(tokens >= 1 for tokens in left.values()) else None


def _continuing(request: Request, sent: str, deployment: Deployment, left: dict[str, int]) -> Request:
    """The request for the rest of the answer: the caller's, but for the members that say how it goes on."""
    last: dict[str, Any] = {"role": "assistant", "content": prefill_text(sent)}
    changed: dict[str, Any] = dict(left)
    if deployment.target.prefill is Prefill.PREFIX:
        last["prefix"] = True
    elif deployment.target.prefill is Prefill.FINAL:
        changed |= {"continue_final_message": True, "add_generation_prompt": False}
    changed["messages"] = [*request.body["messages"], last]
    texts = {name: lenient_json.dumps(value) for name, value in changed.items()}
    raw = request.raw
    with suppress(ValueError):
        raw = edit(request.raw, request.body, texts)
    return replace(request, body={**request.body, **changed}, raw=raw)
