"""A scenario is made from its seed alone: who asks when, how patient they are, and how each provider behaves.

Times are whole steps of a twentieth of a second, so that many things happen at the same moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from policies.timeouts import Timeouts

STEP_S = 0.05
MAX_CLIENTS = 12


class Course(StrEnum):
    """How one upstream call goes."""

    ANSWER = "answer"
    LINGER = "linger"  # answers, and keeps the body open after that
    UNTOLD = "untold"  # answers a stream without a usage report
    CONNECT = "connect"  # nobody listens
    STALE = "stale"  # an idle connection dies; a fresh one answers
    RESET_HEAD = "reset_head"
    RESET_EARLY = "reset_early"  # after the opening event, which has no content
    RESET_LATE = "reset_late"  # after content
    STALL_HEAD = "stall_head"
    STALL_EARLY = "stall_early"  # comments, and nothing else
    STALL_LATE = "stall_late"  # silence, or comments alone, after content
    CUT_EARLY = "cut_early"  # a proper end of the body before content
    CUT_LATE = "cut_late"
    GARBAGE_EARLY = "garbage_early"
    GARBAGE_LATE = "garbage_late"
    IN_BAND_EARLY = "in_band_early"
    IN_BAND_LATE = "in_band_late"
    UNSTREAMED = "unstreamed"  # a whole answer where a stream was asked for
    STATUS = "status"


LATE = frozenset(course for course in Course if course.endswith("_late"))
GOOD = frozenset({Course.ANSWER, Course.LINGER, Course.UNTOLD})
_FAULTS = tuple(course for course in Course if course not in GOOD)
# (status, code of the error object, Retry-After)
_STATUSES: tuple[tuple[int, str | None, str | None], ...] = (
    (400, None, None),
    (400, "context_length_exceeded", None),
    (400, "content_filter", None),
    (401, "invalid_api_key", None),
    (402, "insufficient_quota", None),
    (429, "rate_limit_exceeded", None),
    (429, "rate_limit_exceeded", "1"),
    (429, "rate_limit_exceeded", "30"),
    (500, None, None),
    (503, "overloaded", "2"),
    (529, "overloaded", None),
)
WISHES = ("no-cache", "no-store", "only-if-cached", "max-age=1")
_UNAVAILABLE = tuple(status for status in _STATUSES if status[0] >= 429)


class LateRandom:
    """Makes its Random when it is called first: seeding costs as much as a request, and many are never needed."""

    __slots__ = ("_rng", "_seed")

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._rng: Random | None = None

    def __call__(self) -> Random:
        if self._rng is None:
            self._rng = Random(self._seed)
        return self._rng


@dataclass(slots=True)
class Script:
    """One upstream call. `gap_s` is the time before each piece, `pieces` the content events it would send."""

    course: Course
    open_s: float = 0.0
    gap_s: float = 0.0
    pieces: int = 1
    stops_after: int = 0  # content events before a late fault
    status: tuple[int, str | None, str | None] = (200, None, None)
    is_sliced: bool = False  # the network tears its events apart
    has_comments: bool = False  # while it stalls
    is_used_up: bool = False  # its headers say that the rate limit has nothing left


@dataclass(slots=True)
class Deployed:
    """One provider. `faults` are what goes wrong there, in `fault_rate` of its calls, and in all after `lasts`."""

    name: str
    timeouts: Timeouts
    faults: Sequence[Course]
    fault_rate: float
    pace_s: float
    is_limited: bool
    rng: "LateRandom"
    lasts: int | None = None  # calls

    def script(self) -> Script:
        """How the next call goes."""
        rng = self.rng()
        is_fault = rng.random() < self.fault_rate
        if self.lasts is not None:
            is_fault |= self.lasts <= 0
            self.lasts -= 1
        course = rng.choice(self.faults) if is_fault else Course.ANSWER
        if course is Course.ANSWER and rng.random() < 0.2:
            course = rng.choice((Course.LINGER, Course.UNTOLD))
        pieces = rng.randint(1, 5)
        return Script(
            course,
            open_s=rng.choice((0.0, 0.0, STEP_S, self.pace_s)),
            gap_s=rng.choice((0.0, 0.0, STEP_S, self.pace_s)),
            pieces=pieces,
            stops_after=rng.randint(1, pieces),
            status=rng.choice(_STATUSES if self.fault_rate < 0.9 else _UNAVAILABLE),
            is_sliced=rng.random() < 0.3,
            has_comments=rng.random() < 0.5,
            is_used_up=self.is_limited and rng.random() < 0.2,
        )


@dataclass(slots=True)
class ClientPlan:
    """One request. Times are seconds after the start of the scenario; `leaves_s` and `slow_s` are None for never."""

    id: str
    arrives_s: float
    is_stream: bool
    wants_usage: bool
    model: str
    caller: int
    timeout_s: float | None = None
    leaves_s: float | None = None
    slow_s: float | None = None  # what it takes to read one write
    topic: int | None = None  # of two, where answers are kept: equal questions; None: a question of its own
    wish: str | None = None  # what it says about kept answers
    stalls_at: int | None = None  # the write from which on it reads nothing


@dataclass(slots=True, frozen=True)
class Purse:
    """The budget of all callers, and one for each of them, in nano-dollars; `places` are requests at the same time."""

    all_nusd: int
    each_nusd: int
    is_shrinking: bool
    places: int | None = None
    wait_s: float = 0.0


class Trouble(StrEnum):
    """What is the matter with Redis for a while."""

    NONE = "none"
    SLOW = "slow"
    FROZEN = "frozen"  # it takes what is sent, and does all of it when it thaws
    GONE = "gone"
    FULL = "full"  # it refuses what it has no memory for
    LOSSY = "lossy"  # connections end before a request is there, or before its answer is


@dataclass(slots=True, frozen=True)
class RedisPlan:
    """The budgets are in a Redis that has this trouble between two moments (seconds of the scenario). `is_local`: they
    are counted in the process meanwhile, else nobody pays from them.
    """

    trouble: Trouble
    from_s: float
    until_s: float
    is_local: bool


@dataclass(slots=True, frozen=True)
class CachePlan:
    """Answers are kept: `ttl_s` fresh, for `stale_s` more as the last resort. `is_grouped`: the first two callers share
    theirs.
    """

    ttl_s: float
    stale_s: float
    is_grouped: bool


@dataclass(slots=True)
class Scenario:
    """`groups` are numbers of deployments per model, in order; together they are `deployed`."""

    seed: int
    is_quiet: bool
    deployed: list[Deployed]
    groups: list[int]
    clients: list[ClientPlan]
    total_s: float
    max_attempts: int
    tokens: float
    budget_ratio: float
    backoff_base_s: float
    max_in_flight: int
    queue_max: int
    queue_wait_s: float
    reloads_s: float | None = None
    shuts_down_s: float | None = None
    breaker_failures: int = 5
    hedged_after_s: float | None = None  # what the first content usually takes here
    hinted_s: float | None = None  # when another process says that it saw the first provider's breaker open
    purse: Purse | None = None  # None: nobody has a budget
    redis: RedisPlan | None = None  # None: the budgets are in this process
    cache: CachePlan | None = None


def scenario(seed: int) -> Scenario:
    """The scenario of a seed. One in ten is quiet: nothing goes wrong, and every request has to be answered."""
    rng = Random(f"scenario {seed}")
    is_quiet = rng.random() < 0.1
    total_s = rng.choice((2.0, 4.0, 8.0))
    count = rng.choice((1, 2, 2, 3, 3, 4))
    deployed = [_deployed(rng, seed, index, total_s, is_quiet=is_quiet) for index in range(count)]
    is_storm = rng.random() < 0.15
    clients = rng.randint(8, MAX_CLIENTS) if is_storm else rng.randint(1, 5)
    spread_s = rng.choice((0.0, 1.0, 6.0, 20.0))
    is_roomy = is_quiet or rng.random() < 0.7
    plans = [_client(rng, index, spread_s, is_quiet=is_quiet) for index in range(clients)]
    return Scenario(
        seed=seed,
        is_quiet=is_quiet,
        deployed=deployed,
        groups=_groups(rng, count),
        clients=plans,
        total_s=total_s,
        max_attempts=rng.choice((1, 2, 3, 4, 4)),
        tokens=rng.choice((0.0, 1.0, 2.5, 10.0, 10.0, 20.0)),
        budget_ratio=rng.choice((0.1, 0.2, 0.5)),
        backoff_base_s=rng.choice((0.0, 0.1, 0.4)),
        max_in_flight=100 if is_roomy else rng.randint(1, 4),
        queue_max=100 if is_roomy else rng.randint(0, 3),
        queue_wait_s=rng.choice((0.5, 1.0)),
        reloads_s=_moment(rng, 6.0) if rng.random() < 0.15 else None,
        shuts_down_s=_moment(rng, 6.0) if not is_quiet and rng.random() < 0.08 else None,
        breaker_failures=rng.choice((2, 3, 5)),
        hedged_after_s=rng.choice((0.1, 0.3, 0.8)) if not is_quiet and rng.random() < 0.2 else None,
        hinted_s=_moment(rng, 6.0) if rng.random() < 0.1 else None,
        purse=_purse(Random(f"purse {seed}"), is_quiet=is_quiet),
        redis=_redis(Random(f"redis {seed}"), is_quiet=is_quiet),
        cache=None if seed % 5 else _cache(Random(f"cache {seed}"), plans, deployed, is_quiet=is_quiet),
    )


def _cache(rng: Random, clients: Sequence[ClientPlan], providers: Sequence[Deployed], *, is_quiet: bool) -> CachePlan:
    """Tells the clients what to ask, so that questions meet, and has providers die that have answered."""
    for client in clients:
        client.topic = rng.choice((0, 0, 0, 1))
        client.caller = rng.choice((0, 0, 1, client.caller))
        client.model = rng.choice(("m", "m", "m", client.model))
        client.is_stream &= rng.random() < 0.6
        if not is_quiet and rng.random() < 0.15:
            client.wish = rng.choice(WISHES)
    if not is_quiet and rng.random() < 0.8:
        for provider in providers:
            provider.lasts = rng.randint(0, 3)
    return CachePlan(rng.choice((0.1, 0.1, 1.0, 100.0)), rng.choice((0.0, 100.0, 100.0)), is_grouped=rng.random() < 0.5)


def _purse(rng: Random, *, is_quiet: bool) -> Purse | None:
    """A call holds about 900,000 nano-dollars and costs up to 150,000; each extra one of a request holds more."""
    if rng.random() < 0.5:
        return None
    if is_quiet:
        return Purse(10**12, 10**12, is_shrinking=False)
    return Purse(
        all_nusd=rng.choice((950_000, 1_300_000, 2_000_000, 4_000_000, 10**8)),
        each_nusd=rng.choice((1_000_000, 2_000_000, 10**8)),
        is_shrinking=rng.random() < 0.3,
        places=rng.choice((None, None, 1, 3)),
        wait_s=rng.choice((0.0, 0.5, 3.0)),
    )


def _redis(rng: Random, *, is_quiet: bool) -> RedisPlan | None:
    if rng.random() < 0.6:
        return None
    trouble = Trouble.NONE if is_quiet else rng.choice(list(Trouble))
    from_s = _moment(rng, 3.0)
    return RedisPlan(trouble, from_s, from_s + rng.choice((0.5, 3.0, 10.0, 20.0)), is_local=rng.random() < 0.5)


def _deployed(rng: Random, seed: int, index: int, total_s: float, *, is_quiet: bool) -> Deployed:
    mood = "healthy" if is_quiet else rng.choice(("healthy", "flaky", "flaky", "dead", "broken"))
    if mood == "flaky":
        faults: Sequence[Course] = _FAULTS
        fault_rate = rng.choice((0.2, 0.5, 0.8))
    else:
        faults = (rng.choice(_FAULTS),)
        fault_rate = {"healthy": 0.0, "dead": 1.0, "broken": 0.9}[mood]
    timeouts = Timeouts(1.0, rng.choice((0.5, 1.0, 1.5)), rng.choice((0.5, 1.0)), total_s)
    pace_s = 2 * STEP_S if is_quiet else rng.choice((STEP_S, 0.3, 0.45, 0.9))
    is_limited = not is_quiet and rng.random() < 0.15
    own_rng = LateRandom(f"provider {seed} {index}")
    return Deployed(f"p{index}", timeouts, faults, fault_rate, pace_s, is_limited, own_rng)


def _groups(rng: Random, count: int) -> list[int]:
    """Split the deployments into models."""
    if rng.random() < 0.5:
        return [1] * count
    first = rng.randint(1, count)
    return [first, count - first] if first < count else [first]


def _client(rng: Random, index: int, spread_s: float, *, is_quiet: bool) -> ClientPlan:
    plan = ClientPlan(
        id=f"req-{index:02d}",
        arrives_s=_moment(rng, spread_s),
        is_stream=rng.random() < 0.6,
        wants_usage=rng.random() < 0.3,
        model=rng.choice(("m", "m", "r")),
        caller=rng.randrange(3),
    )
    if is_quiet:
        return plan
    if rng.random() < 0.2:
        plan.timeout_s = rng.choice((0.2, 0.6, 1.0, 3.0))
    if rng.random() < 0.25:
        plan.leaves_s = _moment(rng, rng.choice((0.5, 2.0, 5.0)))
    if plan.is_stream and rng.random() < 0.15:
        plan.slow_s = rng.choice((STEP_S, 0.5, 1.5))
    if plan.is_stream and rng.random() < 0.05:
        plan.stalls_at = rng.randint(1, 4)
    return plan


def _moment(rng: Random, until_s: float) -> float:
    return rng.randint(0, round(until_s / STEP_S)) * STEP_S
