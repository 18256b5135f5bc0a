"""What the monitor serves: pages without a script and with nobody's markup, metrics, health."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError

import pytest

from epochseal.config.model import Origin, Value
from epochseal.config.monitor_settings import MonitorConfig
from epochseal.monitor.log_record import LogRecord, Records, page_path
from epochseal.monitor.status_server import serve_status
from epochseal.monitor.told import Told, ToldLog, told_of
from epochseal.service import metrics_server
from epochseal.service.metrics_server import MetricsServer
from tests.integration.report.browser import open_browser
from tests.unit.monitor.test_watched_log import watched

SCRIPT = "<script>document.title = 'ran'</script>"


def _log(folder: Path, name: str, **fields: object) -> ToldLog:
    record = LogRecord(place=f"/logs/{name}", pattern="/logs/*", origin=f"example.com/{name}", log="id")
    (log,) = told_of([watched(folder, record)], (), 1).logs
    return replace(log, **fields)  # type: ignore[arg-type]  # fields by name


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """A tampered, a verified and a new log, and one that is missing."""
    bad = _log(
        tmp_path, "bad", verdict="tampered", found="verified", since=1_767_225_600_000, first_problem=SCRIPT
    )
    good = _log(
        tmp_path, "good", verdict="verified", found="verified", last_sealed="2026-01-01T00:00:00.000Z"
    )
    return Told(
        1_767_225_700_000, (bad, _log(tmp_path, "new"), good), ("example.com/gone",), ("example.com/gone",)
    )


@pytest.fixture
def served(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> Iterator[MetricsServer]:
    """A listener on any port."""
    serve = metrics_server._Server.serve_forever  # noqa: SLF001  # the listener's class
    monkeypatch.setattr(metrics_server._Server, "serve_forever", lambda server: serve(server, 0.01))  # noqa: SLF001  # as above
    nowhere = Origin("default", 0)
    values = {"listen": Value("", "127.0.0.1:0", nowhere), "scrub": Value("24h", 86_400_000, nowhere)}
    config = MonitorConfig(tmp_path, None, values, (), (), ())
    records = Records(tmp_path / "state")
    page_path(tmp_path / "state", told.logs[0].name).write_bytes(b"the page")
    server = serve_status(config, records, lambda: told)
    yield server
    server.close()


def _get(server: MetricsServer, path: str) -> tuple[int, str]:
    host, port = server.address
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as exc:
        with exc:
            return exc.code, exc.read().decode()


def test_the_worst_is_on_top_in_a_browser(served: MetricsServer, tmp_path: Path) -> None:
    """On a phone: what is missing, then what is tampered; markup of somebody else is text."""
    with open_browser(tmp_path, 390, 844) as browser:
        browser.open_url("http://{}:{}/".format(*served.address))
        assert [browser.text(item).lower() for item in browser.find(".verdict")] == [
            "missing",
            "tampered",
            "not examined",
            "verified",
        ]
        assert browser.text(browser.find(".why")[2]) == SCRIPT
        assert browser.title() == "1 tampered, 1 not examined, 1 verified, 1 missing"
        assert browser.rectangle(browser.find("html")[0])["width"] <= 390
        assert browser.find("script") == browser.find("img") == browser.find("link") == []


def test_pages_and_health(served: MetricsServer, told: Told) -> None:
    """A page a log, once the whole log was verified; nothing else of the state directory."""
    assert _get(served, f"/log/{told.logs[0].name}") == (200, "the page")
    assert _get(served, f"/log/{told.logs[1].name}")[0] == 404
    assert [_get(served, path)[0] for path in ("/log/..%2flogs", "/known", "/log/")] == [404, 404, 404]
    status, body = _get(served, "/healthz")
    assert (status, json.loads(body)["missing"]) == (503, ["example.com/gone"])


def test_every_metric_is_explained(served: MetricsServer) -> None:
    """docs/monitor.md lists exactly those that are served, in their order; one verdict of a log is 1."""
    _, text = _get(served, "/metrics")
    page = (Path(__file__).resolve().parents[3] / "docs" / "monitor.md").read_text(encoding="utf-8")
    explained = re.findall(r"^\| `(epochseal_[a-z_]+)", page, re.MULTILINE)
    assert explained == re.findall(r"^# HELP (epochseal_[a-z_]+)", text, re.MULTILINE)
    ones = re.findall(r'^epochseal_monitor_verdict\{.*verdict="(\w+)"\} 1.0$', text, re.MULTILINE)
    assert ones == ["tampered", "verified"]
    assert 'epochseal_monitor_missing{origin="example.com/gone"} 1.0' in text
