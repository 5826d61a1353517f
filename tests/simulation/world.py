"""The gateway of one scenario: everything of ours is real, from the endpoint to the metrics.

Only what is outside is scripted: providers, callers, time and chance.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from config.schema import Config
from gateway.admission import OverloadLimits
from gateway.api.exchange import serve_exchange
from gateway.availability import Guard
from gateway.caching.keeper import CacheKeeper
from gateway.keys.directory import KeyDirectory
from gateway.keys.ring import KeyRing
from gateway.pipeline import SHUTDOWN, Pipeline
from gateway.runtime import Runtime, Upstream
from gateway.service import Service
from gateway.telemetry.logs import Logger
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.recorder import Recorder
from gateway.wire.http import CHANNEL
from gateway.wire.refusals import RefusedError
from policies.breaker import BreakerSettings
from policies.cache.rules import CacheRules
from policies.hedging import HedgeRules
from policies.outcome import Outcome
from policies.retry import Retries, RetryBudget, RetryRules
from policies.scopes import ScopeBook
from policies.stores.memory import MemoryStore
from policies.stores.redis import RedisStore
from providers.tokens import estimate_prompt
from routing.affinity import AffinityBook
from routing.choice import Group, World
from routing.latency import LatencyBook
from routing.plan import Plan
from routing.router import Router
from routing.strategies.ordered import Ordered
from tests.simulation.clients import Client
from tests.simulation.givens import CALLERS, SECRETS, body_of, cache_rules, deployment, dialect, experienced
from tests.simulation.loop import ShufflingLoop
from tests.simulation.purses import Treasury
from tests.simulation.redis import shared_store
from tests.simulation.scenario import Purse, Scenario
from tests.simulation.upstreams import Ledger, Line, ScriptedTransport
from tests.simulation.watch import Watch

_EPOCH_S = 1.75e9
# Of an empty configuration, which would be validated anew for every scenario.
_RING, _SCOPES, _NO_KEYS = KeyRing(), ScopeBook(Config()), KeyDirectory()
_ASKING_S = 0.3  # what a request may ask a slow Redis before a call


@dataclass(slots=True, frozen=True)
class Parts:
    """What a scenario is played with. A planted bug is another part."""

    pipeline: type[Pipeline] = Pipeline
    budget: Callable[[float, float], RetryBudget] = RetryBudget
    guard: Callable[..., Guard] = Guard
    store: type[MemoryStore] = MemoryStore
    remote: type[RedisStore] = RedisStore
    keeper: type[CacheKeeper] = CacheKeeper
    rules: type[CacheRules] = CacheRules


class Book(Recorder):
    """The recorder, and what it was told."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        super().__init__(Metrics(CollectorRegistry()), Logger(self, "info"))
        self.start_over()

    def start_over(self) -> None:
        """The next scenario; the series go on."""
        self.outcomes: defaultdict[str, list[Outcome]] = defaultdict(list)
        self.refusals: defaultdict[str, list[RefusedError]] = defaultdict(list)
        self.crashes: list[Exception] = []
        self.waits: dict[str, dict[str, float]] = {}
        self.guard: Guard | None = None
        self.lines.clear()

    def write(self, line: bytes) -> None:
        self.lines.append(line)

    def record(self, outcome: Outcome) -> None:
        request_id = outcome.request.request_id
        self.outcomes[request_id].append(outcome)
        if self.guard is not None:  # in how many seconds its candidates could still have been called
            candidates = outcome.decision.candidates
            self.waits[request_id] = {d.id: self.guard.earliest_s((d,)) or 0.0 for d in candidates}
        super().record(outcome)

    def refused(self, endpoint: str, request_id: str, error: RefusedError) -> None:
        self.refusals[request_id].append(error)
        super().refused(endpoint, request_id, error)

    def crashed(self, endpoint: str, request_id: str, error: Exception) -> None:
        self.crashes.append(error)
        super().crashed(endpoint, request_id, error)


@dataclass(slots=True)
class Played:
    """What there is to check when a scenario is over."""

    scenario: Scenario
    loop: ShufflingLoop
    book: Book
    service: Service
    ledger: Ledger
    watch: Watch
    clients: list[Client]
    guard: Guard
    budgets: dict[str, RetryBudget]
    treasury: Treasury | None
    keeper: CacheKeeper
    story: list[tuple[float, str, str]]
    unfinished: list[str] = field(default_factory=list)
    most_in_flight: int = 0


class Stage:
    """One scenario on one loop."""

    def __init__(self, scenario: Scenario, loop: ShufflingLoop, book: Book, parts: Parts) -> None:
        self._scenario, self._loop, self._parts = scenario, loop, parts
        self._rng = Random(f"gateway {scenario.seed}")
        self._began_s = loop.now
        self._story: list[tuple[float, str, str]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        ledger = Ledger(self._tell)
        guard = parts.guard(
            BreakerSettings(failures=scenario.breaker_failures, open_s=2.0), clock=loop.time, chance=self._rng.random
        )
        book.guard = guard
        budgets = {name: parts.budget(scenario.tokens, scenario.tokens) for name in ("m", "r")}
        self._world = World(self._rng, LatencyBook(loop.time), AffinityBook(loop.time), availability=guard)
        self._upstreams = {
            deployed.name: Upstream(
                dialect(deployed.name), ScriptedTransport(deployed, ledger, loop), deployed.timeouts
            )
            for deployed in scenario.deployed
        }
        rules = RetryRules(scenario.max_attempts, scenario.backoff_base_s, 2.0, scenario.budget_ratio)
        self._retries = Retries(rules, {}, budgets)
        self._hedges = experienced(scenario, loop)
        purse = scenario.purse
        self._treasury = self._make_treasury(purse, book) if purse is not None else None
        self._keeper = parts.keeper(self._wall)
        pipeline = self._pipeline(self._runtime("1", guard, scenario.groups), book)
        service = Service(
            settings=None,  # type: ignore[arg-type]  # no request asks for it
            recorder=book,
            loop=loop,
            clock=loop.time,
            wall_clock=self._wall,
            new_request_id=lambda: "unnamed",
            render_metrics=lambda: b"",
            pipeline=pipeline,
            keys=_NO_KEYS,
            cache=self._keeper,
        )
        clients = [Client(plan, loop, self._tell) for plan in scenario.clients]
        self.played = Played(
            scenario,
            loop,
            book,
            service,
            ledger,
            Watch(guard, ledger, loop.time, 0.0 if scenario.redis is None else _ASKING_S),
            clients,
            guard,
            budgets,
            self._treasury,
            self._keeper,
            self._story,
        )
        ledger.on_open = self._note_call

    async def run(self) -> None:
        """Play to the end of the last request."""
        played, scenario = self.played, self._scenario
        timers = []
        if scenario.hinted_s is not None:
            first = deployment(scenario.deployed[0].name).id
            timers.append(self._loop.call_later(scenario.hinted_s, played.guard.hint, first, 5.0))
        if scenario.reloads_s is not None:
            timers.append(self._loop.call_later(scenario.reloads_s, self._reload))
        if scenario.shuts_down_s is not None:
            timers.append(self._loop.call_later(scenario.shuts_down_s, self._shut_down))
        await asyncio.gather(*(self._visit(client) for client in played.clients))
        for timer in timers:
            timer.cancel()
        if self._treasury is not None:
            await self._treasury.told()
        await asyncio.sleep(0)
        me = asyncio.current_task()
        played.unfinished = [repr(task) for task in asyncio.all_tasks(self._loop) if task is not me]

    def _make_treasury(self, purse: Purse, book: Book) -> Treasury:
        plan = self._scenario.redis
        if plan is None:
            return Treasury(purse, self._parts.store(self._wall), self._loop, book.logger)
        store, redis = shared_store(plan, self._loop, self._wall, self._scenario.seed, self._parts.remote)
        return Treasury(purse, store, self._loop, book.logger, redis=redis, is_local=plan.is_local)

    async def _visit(self, client: Client) -> None:
        plan, loop = client.plan, self._loop
        await asyncio.sleep(plan.arrives_s)
        body = body_of(plan, is_limited=self._treasury is not None)
        client.raw = orjson.dumps(body)
        self.played.ledger.prompts[plan.id] = estimate_prompt(body)
        client.arrived_s = loop.time()
        headers = [(b"x-api-key", SECRETS[plan.caller]), (b"x-request-id", plan.id.encode())]
        if plan.wish is not None:
            headers.append((b"x-signalbox-cache", plan.wish.encode()))
        if plan.timeout_s is not None:
            headers.append((b"x-signalbox-timeout-ms", b"%d" % (plan.timeout_s * 1000)))
        self._tell(plan.id, f"asks {plan.model} for {'a stream' if plan.is_stream else 'a whole answer'}")
        scope: dict[str, Any] = {CHANNEL: client, "headers": headers}
        work = serve_exchange(self.played.service, "chat", scope, _nothing_more, _Sender(client).send)
        task = self._tasks[plan.id] = client.task = loop.create_task(work)
        leaving = loop.call_later(plan.leaves_s, client.leave) if plan.leaves_s is not None else None
        try:
            await asyncio.wait([task])
        finally:
            if leaving is not None:
                leaving.cancel()
        client.done_s = loop.time()
        client.put_away()
        del self._tasks[plan.id]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.played.book.crashes.append(error)  # type: ignore[arg-type]

    def _reload(self) -> None:
        """Another snapshot: the models stand in the opposite order."""
        self._tell("gateway", "reloads")
        service = self.played.service
        groups = list(reversed(self._scenario.groups))
        runtime = self._runtime("2", self.played.guard, groups, is_reversed=True)
        before = service.runtime
        pipeline = self._pipeline(runtime, self.played.book)
        self._keeper.stand_before(pipeline, self.played.book, self._loop, self._loop.time, service.pressure)
        self._keeper.forget_changed(before, runtime)
        service.pipeline = pipeline
        service.gate.use(runtime.overload)

    def _shut_down(self) -> None:
        """What the server does when its time to drain is over."""
        self._tell("gateway", "cuts what is under way")
        for client in self.played.clients:
            task = self._tasks.get(client.plan.id)
            if task is not None:
                client.is_cut = True
                task.cancel(msg=SHUTDOWN)

    def _pipeline(self, runtime: Runtime, book: Book) -> Pipeline:
        desk = None if self._treasury is None else self._treasury.desk
        return self._parts.pipeline(runtime, book, self._loop, self._loop.time, self._wall, desk=desk)

    def _runtime(self, version: str, guard: Guard, groups: Sequence[int], *, is_reversed: bool = False) -> Runtime:
        scenario = self._scenario
        deployments = [deployment(deployed.name) for deployed in scenario.deployed]
        if is_reversed:
            deployments.reverse()
        models, start = [], 0
        for index, size in enumerate(groups):
            models.append(Group(f"m{index}", tuple(deployments[start : start + size])))
            start += size
        plans = {
            "m": Plan("m", "ordered", Ordered(), tuple(models)),
            "r": Plan("r", "ordered", Ordered(), (models[0],), fallbacks=tuple(models[1:]), route="r"),
        }
        rules = None if scenario.cache is None else cache_rules(scenario.cache, self._parts.rules)
        return Runtime(
            version=version,
            router=Router(plans, {}, self._world),
            upstreams=self._upstreams,
            keys=CALLERS if self._treasury is None else self._treasury.callers(CALLERS),
            models={},
            max_body_bytes=100_000,
            retries=self._retries,
            guard=guard,
            ring=_RING,
            scopes=_SCOPES,
            hedge=HedgeRules(max_extra_ratio=0.5) if scenario.hedged_after_s is not None else None,
            hedges=self._hedges,
            cache=rules,
            last_resort=self._keeper.last_resort(rules),
            overload=OverloadLimits(scenario.max_in_flight, scenario.queue_max, scenario.queue_wait_s),
        )

    def _note_call(self, line: Line) -> None:
        played = self.played
        played.watch.opened(line)
        if played.treasury is not None:
            played.treasury.look()
        played.most_in_flight = max(played.most_in_flight, played.service.gate.in_flight)

    def _tell(self, who: str, what: str) -> None:
        self._story.append((self._loop.now - self._began_s, who, what))

    def _wall(self) -> float:
        return _EPOCH_S + self._loop.time()


class _Sender:
    """ASGI's `send` for what the endpoint answers that way."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, message: Any) -> None:
        client = self._client
        if message["type"] == "http.response.start":
            client.begin(message["status"], b"".join(b"%b: %b\r\n" % header for header in message["headers"]))
        else:
            client.is_streamed = False
            client.body += message["body"]
            client.end()


async def _nothing_more() -> Any:
    raise AssertionError("the body was there already")
