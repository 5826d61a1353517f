"""/admin/budgets, /admin/limits, /admin/holds and /admin/spend: what is left, what is under way, what was spent."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, ValidationError

from config.schema_keys import KeyConfig
from gateway.admin.access import AdminContext, AdminError
from gateway.admin.audit import Actor
from gateway.admin.budget_changes import BudgetChanges, asked, budget_etag, raised_by, unreachable
from gateway.admin.wire import MAX_PAGE, answer_of, body_of, invalid, page_of, read_object
from gateway.money.opening import Books
from gateway.wire.answers import usd
from policies.scopes import Scope
from policies.stores.base import Balance, OpenHold, StoreError
from policies.stores.entries import GROUPS

_DAY_S = 86_400.0
_BUDGET = {
    "object": "budget",
    "name": "team-a",
    "key": None,
    "id": "budget/team-a/day",
    "limit_usd": "50",
    "spent_usd": "12.5",
    "held_usd": "0.04",
    "left_usd": "37.46",
    "raised_usd": "0",
    "carried_usd": "0",
    "window_start": "2026-08-01T00:00:00Z",
    "window_end": "2026-08-02T00:00:00Z",
}
_LIMIT = {
    "object": "limit",
    "name": "team-a",
    "id": "limit/key/team-a-prod/requests/minute",
    "unit": "requests",
    "limit": 600,
    "used": 12,
    "held": 1,
}
_HOLD = {
    "object": "hold",
    "id": "9f2c61d0aa3e4b17-2a",
    "amounts": {"budget/team-a/day": 1_250_000},
    "lease_until": "2026-08-01T09:02:00Z",
    "is_dispatched": True,
}
_SPEND = {
    "by": {"team": "team-a", "model": "gpt-5-mini"},
    "calls": 120,
    "tokens": 41_000,
    "cost_usd": "0.21",
    "reported_usd": "0",
    "estimated_calls": 1,
    "flagged_calls": 0,
    "unpriced_calls": 0,
    "kept_calls": 31,
    "saved_usd": "0.05",
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such budget."},
    503: {"description": "The store of spending cannot be reached."},
}


class Raise(BaseModel, extra="forbid"):
    """A one-off change of a budget's limit in its present window."""

    amount_usd: float = Field(
        strict=True, allow_inf_nan=False, description="US dollars to add; less than 0 takes away."
    )
    key: str | None = Field(default=None, description="Whose, where every key has the budget for itself.")
    reason: str | None = Field(default=None, max_length=500, description="For the audit log.")


class Reset(BaseModel, extra="forbid"):
    """Nothing counts as spent in the present window."""

    key: str | None = Field(default=None, description="Whose, where every key has the budget for itself.")
    reason: str | None = Field(default=None, max_length=500, description="For the audit log.")


def add_routes(app: FastAPI, context: AdminContext) -> None:
    """Add the endpoints to the control plane."""
    _add_budgets(app, context)
    _add_changes(app, context)
    _add_others(app, context)
    _add_spend(app, context)


def _add_budgets(app: FastAPI, context: AdminContext) -> None:
    page = answer_of("A page of budgets.", page_of([_BUDGET], "budget/team-a/day", has_more=True))

    @app.get("/admin/budgets", tags=["money"], responses={200: page, 503: _ERRORS[503]})
    async def list_budgets(
        _: Annotated[Actor, Depends(context.needs("viewer"))],
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Budgets on this page at most.")] = 100,
        after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
        name: Annotated[str | None, Query(description="Budgets of this name only.")] = None,
    ) -> JSONResponse:
        """Every budget with its present window; one for each key where keys have it for themselves."""
        scopes = [scope for scope in _scopes(context) if scope.is_budget and name in (None, scope.name)]
        shown, has_more = _page(scopes, after, limit)
        balances = await _balances(context, shown)
        rows = [_budget(scope, balance) for scope, balance in zip(shown, balances, strict=True)]
        return JSONResponse(page_of(rows, shown[-1].meter.id if shown else None, has_more=has_more))

    @app.get(
        "/admin/budgets/{name:path}", tags=["money"], responses={200: answer_of("The budget.", _BUDGET), **_ERRORS}
    )
    async def show_budget(
        _: Annotated[Actor, Depends(context.needs("viewer"))],
        name: str,
        key: Annotated[str | None, Query(description="Whose, where every key has it for itself.")] = None,
    ) -> JSONResponse:
        """One budget. Its ETag can be sent as If-Match with a raise or a reset; spending does not change it."""
        scope = _find(context, name, key)
        (balance,) = await _balances(context, [scope])
        return JSONResponse(_budget(scope, balance), headers={"etag": budget_etag(scope, balance)})


def _add_changes(app: FastAPI, context: AdminContext) -> None:
    changed = answer_of("The budget as it is now.", _BUDGET)
    changes = BudgetChanges()

    @app.post(
        "/admin/budgets/{name:path}/raise",
        tags=["money"],
        responses={200: changed, 412: {"description": "It has changed since."}, **_ERRORS},
        openapi_extra=body_of(Raise, {"amount_usd": 10, "reason": "launch day"}, optional=("key", "reason")),
    )
    async def raise_budget(
        actor: Annotated[Actor, Depends(context.needs("operator"))], name: str, request: Request
    ) -> JSONResponse:
        """Add to the limit of the present window, once."""
        body = await _read(Raise, request)
        amount = raised_by(body.amount_usd)
        scope, store = _find(context, name, body.key), _books(context).store
        before, after = await changes.make(
            store, scope, request, lambda meter: store.raise_limit(meter, amount), amount
        )
        return await _changed(context, actor, scope, before, after, body.reason)

    @app.post(
        "/admin/budgets/{name:path}/reset",
        tags=["money"],
        responses={200: changed, 412: {"description": "It has changed since."}, **_ERRORS},
        openapi_extra=body_of(Reset, {"reason": "agreed with finance"}, optional=("key", "reason")),
    )
    async def reset_budget(
        actor: Annotated[Actor, Depends(context.needs("operator"))], name: str, request: Request
    ) -> JSONResponse:
        """Forget what was spent in the present window. What is held for requests under way stays held."""
        body = await _read(Reset, request)
        scope, store = _find(context, name, body.key), _books(context).store
        before, after = await changes.make(store, scope, request, store.reset)
        return await _changed(context, actor, scope, before, after, body.reason)


def _add_others(app: FastAPI, context: AdminContext) -> None:
    limits = answer_of("A page of limits.", page_of([_LIMIT], _LIMIT["id"], has_more=True))  # type: ignore[arg-type]
    holds = answer_of("A page of holds.", page_of([_HOLD], _HOLD["id"], has_more=True))  # type: ignore[arg-type]

    @app.get("/admin/limits", tags=["money"], responses={200: limits, 503: _ERRORS[503]})
    async def list_limits(
        _: Annotated[Actor, Depends(context.needs("viewer"))],
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Limits on this page at most.")] = 100,
        after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    ) -> JSONResponse:
        """Every rate limit with what is used of it now."""
        shown, has_more = _page([scope for scope in _scopes(context) if not scope.is_budget], after, limit)
        balances = await _balances(context, shown)
        rows = [_limit(scope, balance) for scope, balance in zip(shown, balances, strict=True)]
        return JSONResponse(page_of(rows, shown[-1].meter.id if shown else None, has_more=has_more))

    @app.get("/admin/holds", tags=["money"], responses={200: holds, 503: _ERRORS[503]})
    async def list_holds(
        _: Annotated[Actor, Depends(context.needs("viewer"))],
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE, description="Holds on this page at most.")] = 100,
        after: Annotated[str | None, Query(description="`next` of the page before.")] = None,
    ) -> JSONResponse:
        """What requests under way hold; amounts in nano-dollars, tokens or requests, as their meter counts."""
        found = sorted(await asked(_books(context).store.open_holds()), key=lambda hold: hold.id)
        rest = [hold for hold in found if after is None or hold.id > after]
        shown = [_hold(hold) for hold in rest[:limit]]
        return JSONResponse(page_of(shown, shown[-1]["id"] if shown else None, has_more=len(rest) > limit))


def _add_spend(app: FastAPI, context: AdminContext) -> None:
    rows = answer_of("Groups, the dearest first.", {"object": "spend", "data": [_SPEND]})

    @app.get("/admin/spend", tags=["money"], responses={200: rows, 503: _ERRORS[503]})
    async def show_spend(
        _: Annotated[Actor, Depends(context.needs("viewer"))],
        by: Annotated[str, Query(description=f"Names between commas: {', '.join(GROUPS)}.")] = "",
        since: Annotated[str | None, Query(description="From when on, ISO 8601; a day ago where left out.")] = None,
        until: Annotated[str | None, Query(description="Before when, ISO 8601; now where left out.")] = None,
        where: Annotated[list[str] | None, Query(description="`name=value`, repeatable: only such calls.")] = None,
    ) -> JSONResponse:
        """What upstream calls cost, and what kept answers saved, added up. Calls with two tags count in both where it
        is grouped by tag.
        """
        now_s = time.time()
        names = [name.strip() for name in by.split(",") if name.strip()]
        filters = dict(_pair(text) for text in where or ())
        began, ended = _moment(since, now_s - _DAY_S), _moment(until, now_s)
        try:
            found = await asyncio.to_thread(_books(context).ledger.query, began, ended, filters, names)
        except ValueError as error:
            raise AdminError(400, "invalid_parameter", f"{error}", param="by") from None
        except StoreError as error:
            raise unreachable(error) from None
        data = [
            {
                "by": dict(zip(names, row.by, strict=True)),
                "calls": row.calls,
                "tokens": row.tokens,
                "cost_usd": usd(row.cost_nusd),
                "reported_usd": usd(row.reported_nusd),
                "estimated_calls": row.estimated_calls,
                "flagged_calls": row.flagged_calls,
                "unpriced_calls": row.unpriced_calls,
                "kept_calls": row.kept_calls,
                "saved_usd": usd(row.saved_nusd),
            }
            for row in found
        ]
        return JSONResponse({"object": "spend", "since": _iso(began), "until": _iso(ended), "data": data})


def _books(context: AdminContext) -> Books:
    books = context.service.books
    if books is None:
        raise AdminError(503, "store_unavailable", "This process keeps no books.")
    return books


def _scopes(context: AdminContext) -> list[Scope]:
    """Every scope there is, by the id of its meter."""
    service = context.service
    keys: list[KeyConfig] = [*service.runtime.ring.keys]
    if service.keys is not None:
        keys += [record.settings for record in service.keys.records.values()]
    return sorted(service.runtime.scopes.all(keys), key=lambda scope: scope.meter.id)


def _find(context: AdminContext, name: str, key: str | None) -> Scope:
    for scope in _scopes(context):
        if scope.is_budget and scope.name == name and scope.key == key:
            return scope
    which = f"'{name}'" if key is None else f"'{name}' of the key '{key}'"
    raise AdminError(404, "budget_not_found", f"There is no budget {which}; GET /admin/budgets lists them.")


def _page(scopes: Sequence[Scope], after: str | None, limit: int) -> tuple[list[Scope], bool]:
    rest = [scope for scope in scopes if after is None or scope.meter.id > after]
    return rest[:limit], len(rest) > limit


async def _balances(context: AdminContext, scopes: Sequence[Scope]) -> Sequence[Balance]:
    return await asked(_books(context).store.balances([scope.meter for scope in scopes])) if scopes else []


async def _changed(
    context: AdminContext, actor: Actor, scope: Scope, before: Balance, after: Balance, reason: str | None
) -> JSONResponse:
    shown = _budget(scope, after)
    await context.done(actor, scope.meter.id, before=_budget(scope, before), after=shown | {"reason": reason})
    return JSONResponse(shown, headers={"etag": budget_etag(scope, after)})


async def _read(model: type[Any], request: Request) -> Any:
    try:
        return model.model_validate(await read_object(request))
    except ValidationError as error:
        raise invalid(error) from None


def _budget(scope: Scope, balance: Balance) -> dict[str, Any]:
    return {
        "object": "budget",
        "name": scope.name,
        "key": scope.key,
        "id": balance.meter_id,
        "limit_usd": usd(balance.limit),
        "spent_usd": usd(balance.spent),
        "held_usd": usd(balance.held),
        "left_usd": usd(balance.left),
        "raised_usd": usd(balance.raised),
        "carried_usd": usd(balance.carried),
        "window_start": _iso(balance.start_s),
        "window_end": _iso(balance.end_s),
    }


def _limit(scope: Scope, balance: Balance) -> dict[str, Any]:
    return {
        "object": "limit",
        "name": scope.name,
        "id": balance.meter_id,
        "unit": scope.meter.unit.value,
        "limit": balance.limit,
        "used": balance.spent,
        "held": balance.held,
    }


def _hold(hold: OpenHold) -> dict[str, Any]:
    return {
        "object": "hold",
        "id": hold.id,
        "amounts": dict(hold.amounts),
        "lease_until": _iso(hold.lease_until_s),
        "is_dispatched": hold.is_dispatched,
    }


def _pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise AdminError(400, "invalid_parameter", f"'where' is name=value, not {text!r}.", param="where")
    return name, value


def _moment(text: str | None, otherwise_s: float) -> float:
    if text is None:
        return otherwise_s
    try:
        moment = datetime.fromisoformat(text)
        at_s = (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
        datetime.fromtimestamp(at_s, UTC)  # a moment of the first or the last year may lie outside in UTC
    except (ValueError, OverflowError):
        raise AdminError(400, "invalid_parameter", f"{text!r} is no time as 2026-08-01T09:00:00Z.") from None
    return at_s


def _iso(at_s: float) -> str | None:
    """None for a window without an end."""
    return datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z") if isfinite(at_s) else None
