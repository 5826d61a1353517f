"""Routers made from configurations, as the gateway makes them, with a clock that a test turns."""

import json
from random import Random

from config.load import load_bytes
from config.settings import Settings
from gateway.assemble import Assembler
from providers import registry
from routing.ask import Ask
from routing.router import Router

SIM = {"sim": {"kind": "mock"}}
EASY = "hello there, how are you?"
HARD = (
    "Prove rigorously, because the former argument was wrong, that every bounded sequence of real numbers has a "
    "convergent subsequence. However, you must not use compactness. If a step needs the completeness of the reals, "
    "then derive it first; otherwise show why the construction would fail. Explain each step and compare both proofs."
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def model(*names, price=None, provider="sim", **more):
    """A model of the configuration; its price is in US dollars per million tokens (input, output)."""
    if price is not None:
        more["price"] = {"input_usd_per_mtok": price[0], "output_usd_per_mtok": price[1]}
    return {"deployments": [{"provider": provider, "model": name} for name in names], **more}


def assembled(clock=None, seed=3, folder=None, **config):
    """The assembler and the Runtime of a configuration. Fails on any error in it."""
    config.setdefault("providers", SIM)
    loaded = load_bytes(json.dumps(config).encode(), file="test", environ={}, known_kinds=registry.kinds())
    assert loaded.config is not None, [d.message for d in loaded.diagnostics]
    more = {} if folder is None else {"folder": folder}
    assembler = Assembler(Settings(), rng=Random(seed), clock=clock or Clock(), **more)
    return assembler, assembler.build(loaded.config, loaded, "1")


def router(clock=None, seed=3, **config) -> Router:
    return assembled(clock, seed, **config)[1].router


def ask(name, text=EASY, *, messages=None, **more) -> Ask:
    """A chat request; what is no field of Ask goes into its body."""
    fields = {key: more.pop(key) for key in tuple(more) if key in Ask.__dataclass_fields__}
    body = {"model": name, "messages": messages or [{"role": "user", "content": text}], **more}
    fields.setdefault("body_bytes", len(json.dumps(body)))
    return Ask(name, body, **fields)


def models(decision):
    """The models of the candidates, in order, each once."""
    return list(dict.fromkeys(candidate.model for candidate in decision.candidates))
