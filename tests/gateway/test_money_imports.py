"""A gateway without budgets, state folder and Redis loads nothing that only those need."""

import json
import subprocess
import sys

ON_DEMAND = ("redis", "httpx2", "tiktoken", "fastapi", "pyarrow", "policies.stores.sqlite", "policies.stores.redis")


def test_what_only_some_need_is_imported_by_them():
    code = (
        f"import json, sys, gateway.serve; print(json.dumps([name for name in {ON_DEMAND} if sys.modules.get(name)]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(found.stdout) == []
