"""LiteLLM's local classifiers beside ours, where it is installed: here, or under .cache/peers by `make bench-peers`."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from routing.learned.evaluate import mean_order_figures
from routing.learned.feedback import Examples

_ROOT = Path(__file__).resolve().parents[2]
_INSTALLED = _ROOT / ".cache" / "peers" / "litellm" / "bin" / "python"
_SCRIPT = Path(__file__).with_name("litellm_scores.py")


def interpreter() -> Path | None:
    """The Python that can import LiteLLM; None where there is none."""
    if find_spec("litellm") is not None:
        return Path(sys.executable)
    return _INSTALLED if _INSTALLED.exists() else None


def measure(sets: dict[str, Examples], texts: dict[str, list[str]]) -> dict[str, Any]:
    """APGR of both classifiers on every set, and microseconds of CPU by characters; empty without LiteLLM."""
    python = interpreter()
    if python is None:
        return {}
    names = list(sets)
    asked = json.dumps([text for name in names for text in texts[name]])
    answer = subprocess.run([str(python), str(_SCRIPT)], input=asked, capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    apgr: dict[str, dict[str, float]] = {}
    start = 0
    for name in names:
        end = start + len(texts[name])
        apgr[name] = {
            kind: round(mean_order_figures(np.array(found[kind][start:end]), sets[name].scores).apgr, 4)
            for kind in ("v1", "v2")
        }
        start = end
    return {"apgr": apgr, "cpu_us": found["cpu_us"]}
