"""The Helm chart: linted and rendered by Helm's own library."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.validation.outcome import Failed, NotHere

_ALLOWED = {"icon is recommended"}
WRONG = {
    "a key that is misspelt": ("sidecar", "orgin", "example.com/payments"),
    "a sidecar without an origin": ("sidecar", "origin", ""),
    "a sidecar without a service": ("sidecar", "service", {}),
    "an origin with a blank": ("sidecar", "origin", "example.com/pay ments"),
    "a key that is no URI": ("sidecar", "epochKey", "payments-epoch"),
    "no replica": ("sidecar", "replicas", 0),
    "a digest that is cut": ("image", "digest", "sha256:00"),
    "a monitor without logs": ("monitor", "logsClaim", ""),
    "a schedule of three fields": ("verifier", "schedule", "17 3 *"),
}
"""What values.schema.json has to refuse."""


def render(folder: Path, into: Path) -> list[dict[str, Any]]:
    """The objects of the example with all parts, written to a folder, one file an object.

    Raises:
        NotHere: helm-python-sdk is not installed.
        Failed: Helm finds something, renders nothing, or takes values that are wrong.
    """
    try:
        import helm_python  # noqa: PLC0415  # only `make check-deploy` installs it
    except ImportError as exc:
        raise NotHere("helm-python-sdk: not installed; make check-deploy does that") from exc
    found = helm_python.lint(str(folder))
    if found["errors"] or {item["error"] for item in found["messages"]} - _ALLOWED:
        raise Failed(str(found))
    values = yaml.safe_load((folder / "examples/all.yaml").read_text(encoding="utf-8"))
    objects: list[dict[str, Any]] = []
    with helm_python.Chart.load(str(folder)) as chart:
        rendered = chart.render(values, name="audit", namespace="payments")
        if any(text.strip() for text in chart.render({}, name="audit", namespace="payments").values()):
            raise Failed("the chart makes objects though no part is enabled")
        for text in rendered.values():
            objects += [item for item in yaml.safe_load_all(text) if item]
        for what, (part, key, value) in WRONG.items():
            wrong = copy.deepcopy(values)
            wrong[part][key] = value
            try:
                chart.validate_schema(wrong)
            except helm_python.HelmError:
                continue
            raise Failed(f"the schema takes {what}")
    if len(objects) < len(values):
        raise Failed(f"{len(objects)} objects are rendered")
    for number, item in enumerate(objects):
        (into / f"{number}.yaml").write_text(yaml.safe_dump(item), encoding="utf-8")
    return objects
