"""Graded outcomes to measure on: the folder `routing` of SIGNALBOX_SHARED, or of `../shared` beside the repository."""

import csv
import gzip
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[2]
_NOT_MODELS = ("benchmark", "domain", "prompt", "task", "item")
FILES = {
    "mmlu": "pair_mmlu_gsm8k",
    "gsm8k": "pair_mmlu_gsm8k",
    "nine_models": "nine_models_14_tasks",
    "zeroeval_gsm": "zeroeval_gsm",
    "zeroeval_crux": "zeroeval_crux",
    "zeroeval_math_l5": "zeroeval_math_l5",
    "zeroeval_numersense": "zeroeval_numersense_v2",
}
# USD per million tokens, input and output alike; the other models of `nine_models` cost 0.9.
_PRICES = {
    "gemma-2-9b-it": 0.1,
    "qwen2.5-7b-instruct": 0.2,
    "mistral-7b-instruct-v0.3": 0.2,
    "llama-3.1-8b-instruct": 0.2,
    "codegemma-7b": 0.2,
    "llama3-chatqa-1.5-8b": 0.2,
}
_ANSWER_TOKENS = 250


def folder() -> Path:
    """Where the files are; it may not exist."""
    return Path(os.environ.get("SIGNALBOX_SHARED", _ROOT.parent / "shared")) / "routing"


def read(name: str) -> list[dict[str, Any]]:
    """The rows of a set as training reads them, with costs where prices are known."""
    path = folder() / f"{FILES[name]}.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row.get("benchmark", name) == name]
    models = [column for column in rows[0] if column not in _NOT_MODELS]
    return [
        {
            "prompt": row["prompt"],
            "scores": {model: float(row[model]) for model in models},
            "costs": _costs(name, row, models),
        }
        for row in rows
    ]


def _costs(name: str, row: Mapping[str, str], models: list[str]) -> dict[str, float]:
    if name != "nine_models":
        return {}
    tokens = len(row["prompt"]) / 4 + _ANSWER_TOKENS
    return {model: tokens * _PRICES.get(model, 0.9) / 1e6 for model in models}
