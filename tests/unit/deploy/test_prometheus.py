"""What is given for Prometheus and Grafana: each alert fires when it should, and every metric is there."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from epochseal.config.model import Origin, Value
from epochseal.config.monitor_settings import MonitorConfig
from epochseal.monitor.fleet_metrics import FleetMetrics
from epochseal.monitor.told import Told
from epochseal.service.metrics import MetricsCollector

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
RULES = DEPLOY / "prometheus" / "epochseal.rules.yml"
TESTS = DEPLOY / "prometheus" / "epochseal.rules_test.yml"
DASHBOARD = DEPLOY / "grafana" / "epochseal.json"
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}


def _rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return panels


def _promtool(*words: str) -> str:
    done = subprocess.run(
        ["promtool", *words], cwd=RULES.parent, capture_output=True, text=True, check=False, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _known() -> set[str]:
    nowhere = Origin("default", 0)
    values = {"scrub": Value("24h", 86_400_000, nowhere)}
    fleet = FleetMetrics(MonitorConfig(Path("none"), None, values, (), (), ()), lambda: Told(1))
    families = [*MetricsCollector(()).collect(), *fleet.collect()]
    return {family.name + suffix for family in families for suffix in _SUFFIXES.get(family.type, ("",))}


def test_each_alert_fires_and_none_too_early() -> None:
    """By Prometheus itself, on series that are written down beside the rules."""
    assert "SUCCESS" in _promtool("test", "rules", TESTS.name)
    assert "SUCCESS" in _promtool("check", "config", "prometheus.yml")


def test_no_alert_is_without_such_a_test() -> None:
    """Of each one moment at which it fires, and one at which it does not."""
    seen = {
        (item["alertname"], bool(item["exp_alerts"]))
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for item in test["alert_rule_test"]
    }
    assert seen == {(rule["alert"], fires) for rule in _rules() for fires in (True, False)}


def test_the_page_has_every_alert() -> None:
    """docs/monitor.md says when each one fires."""
    page = (DEPLOY.parent / "docs" / "monitor.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"`(Epochseal\w+)`", page))) == sorted(rule["alert"] for rule in _rules())


def test_every_metric_is_one_of_ours() -> None:
    """A name that nothing has is an alert that never fires."""
    asked = [rule["expr"] for rule in _rules()]
    asked += [target["expr"] for panel in _panels() for target in panel.get("targets", ())]
    named = {name for text in asked for name in re.findall(r"\bepochseal_\w+", text)}
    assert len(named) > 25
    assert named - _known() == set()


def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    """Each expression is a rule's to promtool; panels have numbers and room of their own."""
    panels = _panels()
    asked = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    rules = [
        {"record": f"asked:{place}", "expr": text.replace("$__rate_interval", "1m")}
        for place, text in enumerate(asked)
    ]
    made = tmp_path / "asked.yml"
    made.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    assert f"{len(asked)} rules found" in _promtool("check", "rules", str(made))
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
