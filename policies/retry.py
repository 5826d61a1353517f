"""How often and how fast a failed call is repeated, so that a storm at the provider is never made worse by us.

The budget is that of gRPC's retry throttling (gRFC A6) in other numbers: an extra call costs a token, every answered
request earns a part of one, and with an empty budget the caller gets the last error at once. A fallback to somebody who
answers well is no storm, and costs none: see `RetryBudget`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

START_TOKENS = 10.0
CAP_TOKENS = 20.0
# The same for first calls to deployments of which nothing is known: more, because the usual fallback is an idle one.
START_UNTRIED = 30.0
CAP_UNTRIED = 100.0
# What an answer earns of them, as a part of what it earns otherwise: three tenths of a call in all, as is usual.
UNTRIED_SHARE = 0.5
# A provider's hint is waited for up to here; with a longer one the caller waits, who may have better to do.
LONGEST_HINT_S = 2.01  # two seconds, give or take what a clock is off
_MOST_DOUBLINGS = 30


@dataclass(slots=True, frozen=True)
class RetryRules:
    """Upstream calls per request (the first included), the pauses in seconds, and what a success earns in tokens."""

    max_attempts: int = 3
    backoff_base_s: float = 0.2
    backoff_max_s: float = 8.0
    budget_ratio: float = 0.2

    def pause_s(self, repeats: int, hint_s: float | None, rng: Random) -> float | None:
        """Seconds before a deployment is called again that was called again `repeats` times; None: not here.

        `hint_s` is what is left of the provider's own wish. Without one the pause is full jitter
        (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
        """
        if hint_s is not None:
            return max(0.0, hint_s) if hint_s <= LONGEST_HINT_S else None
        most_s = self.backoff_base_s * 2 ** min(repeats, _MOST_DOUBLINGS)
        return rng.uniform(0.0, min(self.backoff_max_s, most_s))


@dataclass(slots=True)
class RetryBudget:
    """Tokens for extra calls. Whoever answers a request adds to both kinds while they are below their caps.

    `tokens` are for repeats, and for calls to somebody who failed of late. `untried` are for first calls to somebody of
    whom nothing is known: when a first candidate dies, a burst of requests turns to an idle one at once, and how that
    goes is not known before the first of them has ended.
    """

    tokens: float = START_TOKENS
    untried: float = START_UNTRIED

    def take(self) -> bool:
        """Whether one more call may be made; it is paid for with that."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def give_back(self) -> None:
        """The call that was paid for could not be made."""
        self.tokens = min(CAP_TOKENS, self.tokens + 1)

    def take_untried(self) -> bool:
        """Whether one more call to somebody of whom nothing is known may be made; it is paid for with that."""
        if self.untried < 1:
            return False
        self.untried -= 1
        return True

    def give_back_untried(self) -> None:
        """The call that was paid for could not be made."""
        self.untried = min(CAP_UNTRIED, self.untried + 1)


@dataclass(slots=True, frozen=True)
class Retry:
    """Rules and budget of one route or model."""

    rules: RetryRules = field(default_factory=RetryRules)
    budget: RetryBudget = field(default_factory=RetryBudget)


class Retries(dict[str, Retry]):
    """By the name of the route, or of the model where none was asked for; made when first needed.

    `budgets` are the process's own and outlive a reload. Names come from the configuration, so there are few.
    """

    def __init__(
        self,
        rules: RetryRules | None = None,
        of_routes: Mapping[str, RetryRules] | None = None,
        budgets: dict[str, RetryBudget] | None = None,
    ) -> None:
        super().__init__()
        self._rules = rules if rules is not None else RetryRules()
        self._of_routes = of_routes if of_routes is not None else {}
        self._budgets = budgets if budgets is not None else {}

    def __missing__(self, name: str) -> Retry:
        rules = self._of_routes.get(name, self._rules)
        made = self[name] = Retry(rules, self._budgets.setdefault(name, RetryBudget()))
        return made
