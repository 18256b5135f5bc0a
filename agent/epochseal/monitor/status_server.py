"""What the monitor serves: the page for people, a page a log, `/metrics` and `/healthz`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from epochseal.config.monitor_settings import MonitorConfig
from epochseal.errors import ConfigError, EpochsealError
from epochseal.monitor.log_record import Records
from epochseal.monitor.told import Told
from epochseal.service.metrics_server import TEXT, Answer, MetricsServer

_LOG = re.compile(r"/log/([0-9a-f]{16})")
_HTML = "text/html; charset=utf-8"
_HERE = b"/, /log/NAME, /metrics and /healthz are here\n"


def serve_status(config: MonitorConfig, records: Records, told: Callable[[], Told]) -> MetricsServer:
    """Serve until `close`, where the configuration says; this process must not fork any more.

    Raises:
        ConfigError: the address cannot be used, or a library is missing.
        StorageError: another program listens there.
    """
    try:
        from epochseal.monitor.fleet_metrics import FleetMetrics  # noqa: PLC0415  # its library is an extra
        from epochseal.monitor.fleet_page import FleetPage  # noqa: PLC0415  # so is its
    except ImportError as exc:
        hint = "in a checkout: pip install '.[metrics,report]', or leave listen out"
        raise ConfigError("the libraries for metrics and pages are not installed", hint) from exc
    metrics, page = FleetMetrics(config, told), FleetPage()

    def answer(path: str, accept: str) -> Answer:
        if path == "/":
            return 200, page.render(told()), _HTML
        if path == "/metrics":
            return 200, *metrics.render(accept)
        if path == "/healthz":
            return _health(told())
        if (found := _LOG.fullmatch(path)) is not None:
            return _log_page(records, found[1])
        return 404, _HERE, TEXT

    return MetricsServer(str(config.listen), answer)


def _log_page(records: Records, name: str) -> Answer:
    try:
        found = records.page(name)
    except EpochsealError:
        found = None
    if found is None:
        return 404, b"there is no page yet: one is made whenever the whole log is verified\n", TEXT
    return 200, found, _HTML


def _health(told: Told) -> Answer:
    """200 if every log is verified and none is missing, else 503; and the verdicts."""
    body = {
        "status": "ok" if told.time and not told.status else "failing",
        "logs": {log.place: log.verdict or "not examined" for log in told.logs},
        "failing": {log.place: log.error for log in told.logs if log.error},
        "missing": list(told.missing),
    }
    return 200 if body["status"] == "ok" else 503, json.dumps(body).encode() + b"\n", "application/json"
