"""Prints a bill of materials (CycloneDX 1.6, JSON) of what the gateway runs with, from requirements.lock alone.

Needs neither the network nor an installed package, so it says what is locked and not what happens to be here. The same
lock gives the same bytes. Format: https://cyclonedx.org/docs/1.6/json/
"""

import json
import re
import sys
import tomllib
import uuid
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_PIN = re.compile(r"(?P<name>[\w.-]+)==(?P<version>[^\s;]+)(?: ; (?P<marker>.+))?")


def bill(lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """The bill of materials of a lock as uv writes it: pins with hashes, and comments that say who needs them."""
    root = f"pkg:pypi/{project['name']}@{project['version']}"
    components: list[dict[str, Any]] = []
    needed_by: dict[str, list[str]] = {}
    for entry in re.split(r"\n(?=\S)", lock.strip()):
        lines = [line.strip().removesuffix("\\").strip() for line in entry.splitlines()]
        pin = _PIN.fullmatch(lines[0])
        if pin is None:
            raise SystemExit(f"requirements.lock has a line that is no pin: {lines[0]}")
        hashes = [line.removeprefix("--hash=sha256:") for line in lines[1:] if line.startswith("--hash=sha256:")]
        needed_by[pin["name"]] = [
            line.removeprefix("#").strip().removeprefix("via").strip() for line in lines[1:] if line.startswith("#")
        ]
        components.append(_component(pin["name"], pin["version"], pin["marker"], hashes))
    refs = {component["name"]: component["bom-ref"] for component in components}
    edges: dict[str, list[str]] = {ref: [] for ref in (root, *refs.values())}
    for name, users in needed_by.items():
        for user in users:
            if user:
                edges[root if user.startswith(project["name"]) else refs[user]].append(refs[name])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, root + lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": project["name"],
                "version": project["version"],
                "purl": root,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": sorted(needs)} for ref, needs in sorted(edges.items())],
    }


def _component(name: str, version: str, marker: str | None, hashes: list[str]) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        "scope": "required" if marker is None else "optional",
        # Of every file that may be installed: one for each platform, and the source.
        "hashes": [{"alg": "SHA-256", "content": digest} for digest in hashes],
    }
    if marker is not None:
        component["properties"] = [{"name": "python:marker", "value": marker}]
    return component


if __name__ == "__main__":
    pyproject = tomllib.loads((_ROOT / "pyproject.toml").read_text())
    json.dump(bill((_ROOT / "requirements.lock").read_text(), pyproject["project"]), sys.stdout, indent=2)
    sys.stdout.write("\n")
