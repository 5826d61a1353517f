"""What the budgets of callers have spent in their present windows, as this process saw it: for pacing, not for limits.

Exactness across processes and restarts is not needed here: a pace that is a little off chooses a little differently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from config.schema_keys import KeyConfig
from config.schema_money import BudgetConfig, rolling_s
from policies.windows import Calendar, CalendarWindow
from routing.ask import Ask
from routing.pacing import Pace

_NUSD_PER_USD = 1_000_000_000


@dataclass(slots=True)
class _Account:
    """A budget in its present window. `pace` is None where the window never ends."""

    budget: BudgetConfig
    pace: Pace | None = None
    spent_nusd: int = 0


class SpendingBook:
    """Follows the spending of budgets. It outlives a reload: a budget of the same name and window goes on."""

    def __init__(self) -> None:
        self._accounts: dict[str, _Account] = {}
        self._of_key: dict[str, tuple[_Account, ...]] = {}

    def use(self, budgets: Mapping[str, BudgetConfig], keys: Sequence[KeyConfig]) -> None:
        """Take over the budgets of a new configuration."""
        before = self._accounts
        self._accounts = {}
        for name, budget in budgets.items():
            account = before.get(name)
            if account is None or account.budget.window != budget.window:
                account = _Account(budget)
            elif account.budget != budget:
                account = _Account(budget, None, account.spent_nusd)
            self._accounts[name] = account
        self._of_key = {key.name: tuple(self._chain(key.budget)) for key in keys if key.budget is not None}

    def note(self, key: str, cost_nusd: int, now_s: float) -> None:
        """A request of `key` cost this much; `now_s` is Unix time."""
        for account in self._of_key.get(key, ()):
            _enter_window(account, now_s)
            account.spent_nusd += cost_nusd

    def pressure(self, ask: Ask) -> float:
        """By what factor cost counts more than usual: the most pressed of the caller's budgets decides."""
        highest = 1.0
        for account in self._of_key.get(ask.key, ()):
            _enter_window(account, ask.arrived_s)
            if account.pace is not None:
                highest = max(highest, account.pace.multiplier(account.spent_nusd, ask.arrived_s))
        return highest

    def _chain(self, name: str | None) -> list[_Account]:
        """The budget and everything above it."""
        chain: list[_Account] = []
        while name is not None and name in self._accounts and self._accounts[name] not in chain:
            chain.append(self._accounts[name])
            name = self._accounts[name].budget.parent
        return chain


def _enter_window(account: _Account, now_s: float) -> None:
    """Start from zero where the window that was followed has ended. Rolling windows and totals have no schedule."""
    pace, budget = account.pace, account.budget
    if pace is not None and pace.start_s <= now_s < pace.end_s:
        return
    if budget.window == "total" or rolling_s(budget.window) is not None:
        return
    start_s, end_s = CalendarWindow(Calendar(budget.window), ZoneInfo(budget.time_zone)).period(now_s)
    if pace is not None and start_s != pace.start_s:
        account.spent_nusd = 0
    account.pace = Pace(round(budget.limit_usd * _NUSD_PER_USD), start_s, end_s)
