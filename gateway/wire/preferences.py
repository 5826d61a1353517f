"""OpenRouter's request extensions on the wire: read, and taken out of what is sent on."""

from gateway.runtime import Runtime
from gateway.wire import refusals
from providers.base import Request
from providers.bodyedit import edit
from routing.preferences import MEMBERS, NO_PREFERENCES, PreferenceError, Preferences, parse_preferences

_OPENROUTER = "openrouter"


def take_preferences(runtime: Runtime, request: Request, name: str) -> tuple[str, Preferences]:
    """The name without its suffix, and the preferences. Raises RefusedError (400).

    The members are taken out of `request`: they mean this gateway's providers and models, and OpenAI refuses members
    that it does not know. A name that goes straight to OpenRouter leaves them to OpenRouter: there is nothing to choose
    here. With `models` there is.
    """
    if "models" not in request.body and _is_straight_to_openrouter(runtime, name):
        return name, NO_PREFERENCES
    try:
        name, preferences = parse_preferences(name, request.body, runtime.router.plans.__contains__)
    except PreferenceError as error:
        raise refusals.invalid_field(error.param, error.message) from None
    given = [member for member in MEMBERS if member in request.body]
    if given:
        request.raw = edit(request.raw, request.body, {}, given)
        request.body = {member: value for member, value in request.body.items() if member not in given}
    return name, preferences


def _is_straight_to_openrouter(runtime: Runtime, name: str) -> bool:
    """Whether it is a direct name of a provider of that kind."""
    provider, slash, _ = name.partition("/")
    if not slash or name in runtime.router.plans:
        return False
    upstream = runtime.upstreams.get(provider)
    return upstream.provider.kind == _OPENROUTER if upstream is not None else provider == _OPENROUTER
