"""What is told of a fleet, as Prometheus metrics; read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry

from epochseal.config.monitor_settings import MonitorConfig
from epochseal.monitor.told import GRAVEST_FIRST, Told, ToldLog
from epochseal.service.exposition import expose
from epochseal.version import __version__


class FleetMetrics:
    """The metrics of what `told` gives at each moment."""

    def __init__(self, config: MonitorConfig, told: Callable[[], Told]) -> None:
        self._config, self._told = config, told
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """As `expose` gives it."""
        return expose(self._registry, accept)

    def collect(self) -> Iterator[Metric]:
        """As the registry asks."""
        told = self._told()
        yield InfoMetricFamily("epochseal_build", "The running version.", {"version": __version__})
        yield _single("round_timestamp_seconds", "When all logs were last looked at.", told.time / 1000)
        yield _single("logs", "Logs that are monitored.", len(told.logs))
        scrub = self._config.number("scrub") / 1000
        yield _single("scrub_period_seconds", "Within which every log is verified as a whole.", scrub)
        missing = _gauge("missing", "1 for an expected origin that no log has.", "origin")
        for origin in told.expected:
            missing.add_metric([origin], origin in told.missing)
        yield missing
        verdicts = _gauge("verdict", "1 for the verdict that is told.", "log", "origin", "verdict")
        for log in told.logs:
            for name in filter(None, GRAVEST_FIRST):
                verdicts.add_metric([log.place, log.origin, name], log.verdict == name)
        yield verdicts
        recovered = CounterMetricFamily(
            "epochseal_monitor_recovered_secrets",
            "Epoch secrets that the key backend was asked for.",
            labels=["log", "origin"],
        )
        for log in told.logs:
            recovered.add_metric([log.place, log.origin], log.recovered)
        yield recovered
        for name, text, value in _OF_A_LOG:
            family = _gauge(name, text, "log", "origin")
            for log in told.logs:
                family.add_metric([log.place, log.origin], value(log))
            yield family


def _position(log: ToldLog) -> float:
    return log.position if log.scrubbing else 1.0


def _seconds(text: str) -> float:
    with suppress(ValueError):
        return datetime.fromisoformat(text).timestamp()
    return 0.0


_OF_A_LOG: tuple[tuple[str, str, Callable[[ToldLog], float]], ...] = (
    ("entries", "Entries up to the end that was last seen.", lambda log: log.entries),
    ("failing", "1 while it cannot be examined.", lambda log: bool(log.error)),
    (
        "alarm",
        "1 while a tampering is not acknowledged.",
        lambda log: bool(log.alarm_since) and not log.acknowledged,
    ),
    ("pass_timestamp_seconds", "When it was last examined with a verdict.", lambda log: log.passed / 1000),
    ("verified_timestamp_seconds", "When it was last verified.", lambda log: log.verified / 1000),
    ("whole_timestamp_seconds", "When the last whole verification began.", lambda log: log.whole / 1000),
    ("whole_duration_seconds", "How long that took.", lambda log: log.whole_seconds),
    ("scrub_position_ratio", "How far the running scrub is, 1 if none runs.", _position),
    (
        "entry_timestamp_seconds",
        "Time of its last line, 0 if none was seen.",
        lambda log: _seconds(log.last_sealed),
    ),
    ("closed", "1 if it ends with a clean close.", lambda log: log.closed),
)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"epochseal_monitor_{name}", text, labels=labels)


def _single(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"epochseal_monitor_{name}", text, value)
