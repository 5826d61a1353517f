"""The bill of materials names what the lock names: every package, with every hash, and who needs it."""

import json
import subprocess
import sys

from tests.packaging.conftest import ROOT
from tests.packaging.test_locks import _PROJECT, _entries


def made() -> bytes:
    return subprocess.run([sys.executable, "-I", ROOT / ".ci" / "sbom.py"], check=True, capture_output=True).stdout


def test_it_is_the_runtime_lock() -> None:
    bill = json.loads(made())
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    listed = {
        (part["name"], part["version"], tuple(sorted(f"sha256:{digest['content']}" for digest in part["hashes"])))
        for part in bill["components"]
    }
    locked = {
        (pin.name, str(pin.specifier).removeprefix("=="), tuple(sorted(digest.strip() for digest in hashes)))
        for pin, hashes in _entries("requirements.lock")
    }
    assert listed == locked
    assert len(bill["components"]) == len(locked)
    assert {part["name"] for part in bill["components"] if part["scope"] == "optional"} == {
        pin.name for pin, _ in _entries("requirements.lock") if pin.marker
    }


def test_it_says_who_needs_what() -> None:
    bill = json.loads(made())
    needs = {edge["ref"]: edge["dependsOn"] for edge in bill["dependencies"]}
    refs = {part["bom-ref"] for part in bill["components"]}
    root = bill["metadata"]["component"]["bom-ref"]
    assert needs.keys() == refs | {root}
    assert {ref for found in needs.values() for ref in found} == refs, "nothing is there that nobody needs"
    direct = {ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in needs[root]}
    assert len(direct) == len(_PROJECT["project"]["dependencies"])


def test_the_same_lock_gives_the_same_bytes() -> None:
    assert made() == made()
