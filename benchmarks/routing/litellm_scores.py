"""LiteLLM's two local classifiers, scored by the Python that has LiteLLM: `python litellm_scores.py < prompts.json`.

Reads a list of texts; writes {"v1": scores, "v2": scores, "cpu_us": {characters: {"v1": mean, "v2": mean}}}, where high
means demanding. Run by `benchmarks.routing.peers`; it imports nothing of ours.
"""

import json
import os
import sys
import time

_SIZES = (100, 450, 3_000, 100_000)
_TIERS = {"SIMPLE": "cheap", "MEDIUM": "cheap", "COMPLEX": "strong", "REASONING": "strong"}


def main() -> None:
    """Scores of the texts on standard input."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

    def router(kind: str) -> ComplexityRouter:
        return ComplexityRouter("auto", None, {"tiers": _TIERS, "classifier_type": kind}, "strong")

    first, second = router("heuristic"), router("heuristic_v2")

    def v1(text: str) -> float:
        return float(first.classify(text)[1])

    def v2(text: str) -> float:
        # The chance that the cheapest tier fails.
        forecast = second._classify_with_heuristic_v2(text).heuristic_v2_forecast
        return 1.0 - float(forecast["probabilities"]["SIMPLE"])

    texts = json.load(sys.stdin)
    long = "\n\n".join(texts)
    long *= max(_SIZES) // len(long) + 2
    found = {
        "v1": [v1(text) for text in texts],
        "v2": [v2(text) for text in texts],
        "cpu_us": {str(size): {"v1": _mean_us(v1, long, size), "v2": _mean_us(v2, long, size)} for size in _SIZES},
    }
    json.dump(found, sys.stdout)


def _mean_us(score, long: str, size: int) -> float:  # type: ignore[no-untyped-def]
    texts = [long[draw * 97 : draw * 97 + size] for draw in range(20 if size > 10_000 else 200)]
    start = time.process_time()
    for text in texts:
        score(text)
    return round((time.process_time() - start) / len(texts) * 1e6, 1)


if __name__ == "__main__":
    main()
