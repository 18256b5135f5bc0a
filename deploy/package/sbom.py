"""A bill of materials (CycloneDX 1.6) of what package and image bring: from the locked requirements."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from epochseal.version import __version__

LOCKED = Path(__file__).resolve().parents[2] / "requirements" / "runtime.txt"
_LINE = re.compile(r"^([a-z0-9._-]+)==(\S+)(?: ; (.*?))? \\$", re.MULTILINE | re.IGNORECASE)


def make_sbom() -> dict[str, Any]:
    """The document; each component has the hashes of the files that may be installed for it."""
    text = LOCKED.read_text(encoding="utf-8")
    found = list(_LINE.finditer(text))
    components = []
    for place, match in enumerate(found):
        end = found[place + 1].start() if place + 1 < len(found) else len(text)
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", text[match.start() : end])
        name, version, where = match.groups()
        component: dict[str, Any] = {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
            "hashes": [{"alg": "SHA-256", "content": item} for item in hashes],
        }
        if where:
            component["properties"] = [{"name": "epochseal:only-where", "value": where}]
        components.append(component)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "epochseal",
                "version": __version__,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": components,
    }
