"""What the archiver has done and what waits, as Prometheus metrics; read when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import CollectorRegistry

from epochseal.archive.archived_log import ArchivedLog, ArchiveState
from epochseal.service.exposition import expose

_GAUGES: Sequence[tuple[str, str, Callable[[ArchiveState], float]]] = (
    ("waiting_segments", "Ended segments that are not in the archive yet.", lambda state: state.waiting),
    ("waiting_bytes", "Bytes of their files.", lambda state: state.waiting_bytes),
    (
        "oldest_waiting_seconds",
        "For how long the oldest of them has waited.",
        lambda state: max(time.time() - state.oldest, 0.0) if state.oldest else 0.0,
    ),
    ("failing", "1 if the last look could not put everything.", lambda state: bool(state.error)),
)
_COUNTERS: Sequence[tuple[str, str, Callable[[ArchiveState], float]]] = (
    ("segments", "Segments that were put into the archive.", lambda state: state.archived),
    ("bytes", "Bytes that were put there.", lambda state: state.archived_bytes),
    ("failures", "Looks that could not put everything.", lambda state: state.failures),
)


class ArchiveMetrics:
    """The metrics of all archived logs."""

    def __init__(self, logs: Sequence[ArchivedLog]) -> None:
        self._logs = logs
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """As `expose` gives it."""
        return expose(self._registry, accept)

    def collect(self) -> Iterator[Metric]:
        """As the registry asks."""
        for name, text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"epochseal_archive_{name}", text, labels=["origin"])
            for log in self._logs:
                gauge.add_metric([log.origin], value(log.state))
            yield gauge
        for name, text, value in _COUNTERS:
            counter = CounterMetricFamily(f"epochseal_archive_{name}", text, labels=["origin"])
            for log in self._logs:
                counter.add_metric([log.origin], value(log.state))
            yield counter
