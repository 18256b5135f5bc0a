"""The archiver at work: every log in turn, again and again, until it is told to stop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack

from epochseal.archive.archived_log import ArchivedLog
from epochseal.config import Configuration
from epochseal.errors import ConfigError
from epochseal.journal import Journal
from epochseal.service.metrics_server import TEXT, Answer, MetricsServer
from epochseal.service.sd_notify import Notifier
from epochseal.service.signals import Signals
from epochseal.storage.durable import make_directory
from epochseal.storage.object_store import ObjectStore
from epochseal.storage.object_uploads import ObjectUploads

_LOOK_SECONDS = 5.0
_SOON_SECONDS = 0.2
_ONE_ATTEMPT = 1
_FOLDER_MODE = 0o755


class Archiver:
    """Archives the logs of a configuration that have an `archive`.

    Args:
        config: the file as it was read; the agent's.
        journal: where events go.
        listen: `HOST:PORT` of metrics and health, None for none.
    """

    def __init__(self, config: Configuration, journal: Journal, listen: str | None) -> None:
        self._configs = [log for log in config.logs if log.archive is not None]
        if not self._configs:
            raise ConfigError(f"no log of {config.path} has an archive", 'add archive = "s3://BUCKET/PREFIX"')
        self._journal, self._listen = journal, listen
        self.logs: list[ArchivedLog] = []

    def run(self, *, once: bool) -> int:
        """Until SIGTERM or SIGINT, or with `once` one look at each log; 0, or 6 if a look of `once` failed.

        Raises:
            ConfigError: boto3 or the metrics library is missing, or there is no credential.
            StorageError: the folder of receipts cannot be used, or another program listens there.
        """
        with ExitStack() as stack:
            signals = stack.enter_context(Signals().installed())
            for config in self._configs:
                make_directory(config.archive_receipts, _FOLDER_MODE)
                archive = config.archive
                assert archive is not None  # noqa: S101  # those alone were taken
                # One request an attempt, so that it is known whose object is found there: the next look tries
                # again.
                uploads = ObjectUploads(ObjectStore(archive.parts[1], _ONE_ATTEMPT))
                self.logs.append(ArchivedLog(config, uploads, lambda: signals.stop_asked))
            if self._listen is not None and not once:
                server = serve_archiver(self._listen, self.logs)
                stack.callback(server.close)
                self._journal.info("listening", listen=f"{server.address[0]}:{server.address[1]}")
            self._work(signals, once=once)
        return 6 if once and any(log.state.error for log in self.logs) else 0

    def _work(self, signals: Signals, *, once: bool) -> None:
        notifier, told = Notifier.from_environment(), dict.fromkeys((log.origin for log in self.logs), "")
        notifier.ready()
        while not signals.stop_asked:
            progress = False
            for log in self.logs:
                before = log.state.archived
                log.look()
                state = log.state
                progress = progress or state.archived > before
                if state.archived > before:
                    self._journal.info("archived", log=log.origin, segments=state.archived - before)
                if state.error != told[log.origin]:
                    told[log.origin] = state.error
                    if state.error:
                        self._journal.warning("archive_failed", log=log.origin, error=state.error)
                    else:
                        self._journal.info("archive_works_again", log=log.origin)
                notifier.alive()
            notifier.status(f"{sum(log.state.waiting for log in self.logs)} segments wait")
            # One request that failed among others is tried again at once; a store that is away is let be.
            pause = _SOON_SECONDS if progress and any(told.values()) else _LOOK_SECONDS
            if once or not signals.pause(pause):
                return


def serve_archiver(listen: str, logs: Sequence[ArchivedLog]) -> MetricsServer:
    """Serve `/metrics` and `/healthz` until `close`.

    Raises:
        ConfigError: the address cannot be used, or the library is missing.
        StorageError: another program listens there.
    """
    try:
        from epochseal.archive.archive_metrics import ArchiveMetrics  # noqa: PLC0415  # its library is an extra
    except ImportError as exc:
        hint = "in a checkout: pip install '.[metrics]', or leave --listen out"
        raise ConfigError("the library for metrics is not installed", hint) from exc
    metrics = ArchiveMetrics(logs)

    def answer(path: str, accept: str) -> Answer:
        if path == "/metrics":
            return 200, *metrics.render(accept)
        if path == "/healthz":
            return archive_health(logs)
        return 404, b"/metrics and /healthz are here\n", TEXT

    return MetricsServer(listen, answer)


def archive_health(logs: Sequence[ArchivedLog]) -> Answer:
    """200 if the last look at every log put all there was to put, else 503; and what waits, and why."""
    failing = {log.origin: log.state.error for log in logs if log.state.error}
    body = {
        "status": "failing" if failing else "ok",
        "waiting": {log.origin: log.state.waiting for log in logs},
        "failing": failing,
    }
    return 503 if failing else 200, json.dumps(body).encode() + b"\n", "application/json"
