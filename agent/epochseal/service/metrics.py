"""A daemon's logs as Prometheus metrics: read when they are asked for, from counters kept elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import CollectorRegistry

from epochseal.sealing.counters import LATENCY_BOUNDS, Histogram
from epochseal.service.exposition import expose
from epochseal.service.health import LogView, reasons
from epochseal.service.source_figures import State
from epochseal.service.source_views import FileView
from epochseal.version import __version__


class MetricsCollector:
    """Everything that is shown of some logs, each with the label `log`."""

    def __init__(self, views: Sequence[LogView]) -> None:
        self._views = views
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def render(self, accept: str) -> tuple[bytes, str]:
        """As `expose` gives it."""
        return expose(self._registry, accept)

    def collect(self) -> Iterator[Metric]:
        """As the registry asks."""
        yield InfoMetricFamily("epochseal_build", "The running version.", {"version": __version__})
        yield from self._counters()
        yield from self._latencies()
        yield from self._gauges()
        yield from self._sources()

    def _counters(self) -> Iterator[Metric]:
        entries = _counter("entries", "Entries sealed.")
        size = _counter("bytes", "Bytes of entries sealed.")
        blocks = _counter("blocks", "Blocks sealed, heartbeats among them.")
        epochs = _counter("epochs", "Epochs begun.")
        checkpoints = _counter("checkpoints", "Checkpoints signed and written.")
        recovered = _counter("recovered_entries", "Entries of an interrupted commit that a start completed.")
        aside = _counter("set_aside_bytes", "Bytes that nobody had sealed, moved to .unsealed by a start.")
        torn = _counter("torn_bytes", "Bytes of torn seal lines, moved to .torn by a start.")
        abandoned = _counter("abandoned_secrets", "Epoch secrets that came and were given up unused.")
        starts = _counter("starts", "Starts, by how the log went on: always 1 of one kind.", "link")
        calls = _counter("backend_calls", "Calls of the key backend.", "kind")
        failures = _counter("backend_failures", "Calls that the key backend failed or refused.", "kind")
        errors = _counter("errors", "Errors that stopped the sealing, for a time or for good.", "kind")
        for view in self._views:
            counters, backend = view.sealer.counters, view.sealer.calls
            for family, value in (
                (entries, counters.entries),
                (size, counters.bytes),
                (blocks, counters.blocks),
                (epochs, counters.epochs),
                (checkpoints, counters.checkpoints),
                (recovered, counters.recovered_entries),
                (aside, counters.set_aside_bytes),
                (torn, counters.torn_bytes),
                (abandoned, counters.abandoned_secrets),
            ):
                family.add_metric([view.name], value)
            by_kind = ((calls, backend.made), (failures, backend.failed), (errors, counters.errors))
            for family, counts in by_kind:
                for kind, count in counts.items():
                    family.add_metric([view.name, kind], count)
            if counters.started:
                starts.add_metric([view.name, counters.started], 1)
        yield from (entries, size, blocks, epochs, checkpoints, recovered, aside, torn, abandoned, starts)
        yield from (calls, failures, errors)

    def _latencies(self) -> Iterator[Metric]:
        commits = _histogram(
            "commit_seconds", "Time from the beginning of a commit until its entries and lines are durable."
        )
        waits = _histogram(
            "secret_waiting_seconds",
            "Time that the next epoch's secret lay beside the key of the running one.",
        )
        turns = _histogram("turn_seconds", "Time in which an epoch ended and the next one began.")
        for view in self._views:
            counters = view.sealer.counters
            for family, found in (
                (commits, counters.commits),
                (waits, counters.secret_waits),
                (turns, counters.turns),
            ):
                family.add_metric([view.name], _buckets(found), found.seconds)
        yield from (commits, waits, turns)

    def _gauges(self) -> Iterator[Metric]:
        unsealed = _gauge("unsealed_bytes", "Bytes read from the sources and not sealed yet.")
        epoch = _gauge("epoch_number", "Number of the running or the last epoch; -1 before the first.")
        age = _gauge("epoch_age_seconds", "How long the epoch has been running.")
        overdue = _gauge("epoch_overdue_seconds", "For how long the epoch has been due to end.")
        unsigned = _gauge("unsigned_checkpoints", "Checkpoints that wait for a signature: one or none.")
        signed = _gauge("last_checkpoint_timestamp_seconds", "When a checkpoint was last written; 0: never.")
        stalled = _gauge("stalled_seconds", "For how long the disk has had no room; 0 while it has.")
        tampered = _gauge("tampered_at_start", "Whether this start found another log than was remembered.")
        refused = _gauge("backend_refused", "Whether a backend refuses what is asked of it; sealing goes on.")
        healthy = _gauge("healthy", "Whether entries are acknowledged, or would be: as /healthz says.")
        for view in self._views:
            status = view.sealer.status()
            for family, value in (
                (unsealed, view.buffered()),
                (epoch, status.epoch),
                (age, status.epoch_age),
                (overdue, status.overdue),
                (unsigned, status.unsigned),
                (signed, view.sealer.counters.last_checkpoint / 1000),
                (stalled, status.stalled),
                (tampered, view.sealer.counters.tampered),
                (refused, view.sealer.outage.outlook == "refused"),
                (healthy, not reasons(view)),
            ):
                family.add_metric([view.name], float(value))
        yield from (unsealed, epoch, age, overdue, unsigned, signed, stalled)
        yield from (tampered, refused, healthy)

    def _sources(self) -> Iterator[Metric]:
        """All sources, and of each the files that a person should look at."""
        of_sources = _Inputs("source", "source")
        of_files = _Inputs("file", "source", "file")
        failed = _gauge("source_failed", "Whether a source is closed, as it failed.", "source")
        left_out = _gauge("files_left_out", "How many more of its files would be shown.", "source")
        for view in self._views:
            for source, seen in view.source_views().items():
                labels = [view.name, source]
                of_sources.add(labels, seen)
                failed.add_metric(labels, seen.trouble != "")
                left_out.add_metric(labels, seen.left_out)
                for file, looked in seen.files.items():
                    of_files.add([*labels, file], looked)
        yield from (*of_sources.families, *of_files.families, failed, left_out)


class _Inputs:
    """What is shown of sources, or of files; `kind` is the beginning of each metric's name."""

    def __init__(self, kind: str, *labels: str) -> None:
        self._gaps = _counter(f"{kind}_gaps", f"How often entries of a {kind} may have been missed.", *labels)
        self._skipped = _counter(f"{kind}_skipped_bytes", f"Bytes of a {kind} that were left out.", *labels)
        self._lag = _gauge(f"{kind}_lag_bytes", f"Bytes of a {kind} that wait to be sealed.", *labels)
        self._last_read = _gauge(
            f"{kind}_last_read_timestamp_seconds", "When an entry was last taken; 0: never.", *labels
        )
        self._states = _gauge(f"{kind}_state", f"How a {kind} is: 1 for one of the states.", *labels, "state")
        self.families: tuple[Metric, ...] = (
            self._gaps,
            self._skipped,
            self._lag,
            self._last_read,
            self._states,
        )

    def add(self, labels: list[str], seen: FileView) -> None:
        """One more, with these values of the labels."""
        self._gaps.add_metric(labels, seen.gaps)
        self._skipped.add_metric(labels, seen.skipped)
        self._lag.add_metric(labels, seen.lag)
        self._last_read.add_metric(labels, seen.last_read)
        for state in get_args(State):
            self._states.add_metric([*labels, state], seen.state == state)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"epochseal_{name}", text, labels=["log", *labels])


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"epochseal_{name}", text, labels=["log", *labels])


def _histogram(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(f"epochseal_{name}", text, labels=["log"])


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """The buckets added up, as the format has them."""
    total, buckets = 0, []
    for bound, count in zip((*map(str, LATENCY_BOUNDS), "+Inf"), tuple(histogram.counts), strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
