"""Put an agent together in the one order that keeps keys and locks where they belong (docs/threat-model.md).

Options, pages, zygote (which alone imports the backends), directory lock; then signals and the loop.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from epochseal.config.environment import settings_from_environment
from epochseal.custody.memory import SecretPage, harden_process
from epochseal.custody.zygote import Zygote
from epochseal.errors import BackendError, ConfigError
from epochseal.keys import BackendSettings, KeyURI
from epochseal.sealing import defaults
from epochseal.sealing.backend_calls import BackendCalls
from epochseal.sealing.backend_outage import Outlook
from epochseal.sealing.chain import Pace
from epochseal.sealing.limits import Limits
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.sealer import Sealer
from epochseal.service.commit_loop import CommitLoop, SystemClock
from epochseal.service.signals import Signals
from epochseal.sources.stream import StreamSource
from epochseal.storage.durable import DiskFullError


@dataclass(frozen=True, slots=True, kw_only=True)
class SealOptions:
    """What a sealing command is given; durations in ms, sizes in bytes."""

    logdir: Path
    origin: str
    epoch_key: KeyURI
    checkpoint_key: KeyURI
    epoch_interval: int = defaults.EPOCH_INTERVAL
    epoch_max_entries: int | None = None
    commit_interval: int = defaults.COMMIT_INTERVAL
    block_bytes: int = defaults.BLOCK_BYTES
    segment_bytes: int = defaults.SEGMENT_BYTES
    segment_age: int | None = None
    max_entry_bytes: int = defaults.MAX_ENTRY_BYTES
    runtime_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("epoch_interval", "block_bytes", "segment_bytes", "segment_age", "max_entry_bytes"):
            if getattr(self, name) == 0:
                raise ConfigError(
                    f"--{name.replace('_', '-')} must be more than 0", "leave it out for the default"
                )


def seal_stream(
    options: SealOptions,
    open_stream: Callable[[Signals], int],
    name: str,
    *,
    acknowledge: Callable[[int], None],
    started: Callable[[RestartPoint], None],
) -> int:
    """Seal a stream until it ends or a stop is asked for; the number of entries in the log.

    Args:
        options: what to seal with.
        open_stream: gives the descriptor; called once the helpers are forked, so that none of them holds it,
            and when the log is ready to begin. It may have signals passed on.
        name: the source's name in the log.
        acknowledge: is told the number of durable entries of the whole log, after the start and each commit.
        started: is told what was found in the directory.

    Raises:
        EpochsealError: see `CommitLoop.run` and `Sealer.start`.
    """
    with ExitStack() as stack:
        sealer = stack.enter_context(sealing(options))
        signals = stack.enter_context(Signals().installed())
        started(start_sealer(sealer, signals))
        acknowledge(sealer.entries)
        source = StreamSource(
            open_stream(signals),
            name,
            block_bytes=options.block_bytes,
            max_entry_bytes=options.max_entry_bytes,
        )
        stack.callback(source.close)
        loop = CommitLoop(
            sealer, [source], signals, commit_interval=options.commit_interval / 1000, acknowledge=acknowledge
        )
        if unsealed := loop.run():
            raise BackendError(
                f"{unsealed} bytes were read but not sealed: the backend gave no key before the stop",
                str(sealer.calls.last_error or "") or None,
            )
        return sealer.entries


@contextmanager
def helping(options: SealOptions, settings: BackendSettings) -> Iterator[tuple[Zygote, SecretPage]]:
    """The zygote that makes the calls to the backends of these keys, and the page where secrets arrive.

    Raises:
        ConfigError: a backend cannot be loaded, or a setting of it cannot be meant.
        StorageError: memory cannot be locked.
    """
    with ExitStack() as stack:
        mailbox = stack.enter_context(SecretPage())
        zygote = Zygote.start(options.epoch_key, options.checkpoint_key, settings, mailbox)
        stack.callback(zygote.close)
        yield zygote, mailbox


@contextmanager
def sealing(options: SealOptions) -> Iterator[Sealer]:
    """A sealer with all that it needs, to be started by the caller; given up at the end of the block.

    Raises:
        ConfigError: a backend cannot be loaded, a setting of it in the environment cannot be meant, or the
            runtime directory is not on tmpfs.
        StorageError: memory cannot be locked, or the runtime directory cannot be used.
    """
    settings = settings_from_environment(options.epoch_key, options.checkpoint_key)
    harden_process()
    with ExitStack() as stack:
        zygote, mailbox = stack.enter_context(helping(options, settings))
        sealer = make_sealer(options, zygote, mailbox)
        stack.callback(sealer.release)
        yield sealer


def make_sealer(options: SealOptions, zygote: Zygote, mailbox: SecretPage) -> Sealer:
    """A sealer with these options, not started; its `release` is the caller's to call.

    Raises:
        ConfigError: the runtime directory is not on tmpfs.
        StorageError: memory cannot be locked, or the runtime directory cannot be used.
    """
    if options.runtime_dir is not None:
        runtime = PageStore.in_directory(options.runtime_dir, options.logdir)
    else:
        runtime = PageStore.in_memory()
    clock = SystemClock()
    calls = BackendCalls(zygote, clock, lambda: secrets.randbelow(1024) / 1024)
    limits = Limits(
        epoch_entries=options.epoch_max_entries,
        segment_bytes=options.segment_bytes,
        segment_age=options.segment_age,
    )
    pace = Pace(interval=options.epoch_interval)
    return Sealer(options.logdir, options.origin, calls, mailbox, clock, runtime, pace=pace, limits=limits)


def start_sealer(sealer: Sealer, signals: Signals) -> RestartPoint:
    """Start it. Troubles are told on stderr from now on, and a stop ends the wait for room on the disk.

    Raises:
        EpochsealError: see `Sealer.start`.
    """
    sealer.full_disk.pause, sealer.full_disk.tell = signals.pause, tell_stall
    sealer.outage.tell = tell_outage
    return sealer.start()


def tell_stall(cause: DiskFullError | None) -> None:
    """Say on stderr that the disk is full, or no longer."""
    text = "there is room again: sealing goes on" if cause is None else f"{cause}: waiting for room"
    sys.stderr.write(f"epochseal: {text}\n")
    sys.stderr.flush()


def tell_outage(outlook: Outlook, trouble: BackendError | None) -> None:
    """Say on stderr that a backend is away, that nothing is acknowledged for that, or that it is back."""
    reason = trouble or "the backend has not answered yet"
    text = {
        "up": "the backend is back",
        "down": f"{reason}: trying again; a running epoch goes on",
        "late": f"{reason}: the epoch is overdue for too long, nothing is sealed until the backend is back",
    }[outlook]
    sys.stderr.write(f"epochseal: {text}\n")
    sys.stderr.flush()


def stdin_stream(_signals: Signals) -> int:
    """Standard input, with a pipe's buffer made as large as this user may."""
    with suppress(OSError):
        fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
    return os.dup(0)
