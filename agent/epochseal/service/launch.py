"""Put an agent together in the one order that keeps keys and locks where they belong (docs/threat-model.md).

Options, pages, zygote (which alone imports the backends), directory lock; then signals and the loop.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from epochseal.config.environment import settings_from_environment
from epochseal.config.state_dir import StateDir, default_state_dir
from epochseal.custody.memory import SecretPage, harden_process
from epochseal.custody.zygote import Zygote
from epochseal.errors import ConfigError, Unavailable
from epochseal.keys import BackendSettings, KeyURI
from epochseal.sealing import defaults
from epochseal.sealing.backend_calls import BackendCalls
from epochseal.sealing.chain import Pace
from epochseal.sealing.limits import Limits
from epochseal.sealing.login_gate import LoginGates
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.sealer import Sealer
from epochseal.sealing.setting_bounds import check_bounds
from epochseal.service.commit_loop import CommitLoop, SystemClock, jitter
from epochseal.service.messages import (
    begun_message,
    no_state_directory,
    outage_message,
    print_message,
    stall_message,
    start_messages,
)
from epochseal.service.ready_state_dir import ready_state_dir
from epochseal.service.signals import Signals
from epochseal.sources.stream import StreamSource


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
    state_dir: StateDir = field(default_factory=default_state_dir)
    keep_carry: bool = True

    def __post_init__(self) -> None:
        for name in ("epoch_interval", "block_bytes", "segment_bytes", "segment_age", "max_entry_bytes"):
            if (value := getattr(self, name)) is None:
                continue
            try:
                check_bounds(name, value)
            except ConfigError as exc:
                raise ConfigError(f"--{name.replace('_', '-')} {exc}", exc.hint) from exc


def seal_stream(
    options: SealOptions,
    open_stream: Callable[[Signals], int],
    name: str,
    *,
    acknowledge: Callable[[int], None],
) -> int:
    """Seal a stream until it ends or a stop is asked for; the number of entries in the log.

    Args:
        options: what to seal with.
        open_stream: gives the descriptor; called once the helpers are forked, so that none of them holds it,
            and when the log is ready to begin. It may have signals passed on.
        name: the source's name in the log.
        acknowledge: is told the number of durable entries of the whole log: after each commit, and after a
            start that goes on with what it found by the key that sealed it.

    Raises:
        EpochsealError: see `CommitLoop.run` and `Sealer.start`.
    """
    with ExitStack() as stack:
        sealer = stack.enter_context(sealing(options))
        signals = stack.enter_context(Signals().installed())
        if start_sealer(sealer, signals, options):
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
            raise Unavailable(
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
        sealer = make_sealer(options, settings, zygote, mailbox)
        stack.callback(sealer.release)
        yield sealer


def make_sealer(
    options: SealOptions, settings: BackendSettings, zygote: Zygote, mailbox: SecretPage
) -> Sealer:
    """A sealer with these options and settings of backends, not started; `release` is the caller's to call.

    Raises:
        ConfigError: the runtime directory is not on tmpfs.
        StorageError: memory cannot be locked, or the runtime directory cannot be used.
    """
    if options.runtime_dir is not None:
        runtime = PageStore.in_directory(options.runtime_dir, options.logdir)
    else:
        runtime = PageStore.in_memory()
    clock = SystemClock()
    gates = LoginGates(clock.monotonic, jitter).of_both(options.epoch_key, options.checkpoint_key, settings)
    calls = BackendCalls(zygote, clock, jitter, gates)
    limits = Limits(
        epoch_entries=options.epoch_max_entries,
        segment_bytes=options.segment_bytes,
        segment_age=options.segment_age,
    )
    pace = Pace(interval=options.epoch_interval)
    return Sealer(options.logdir, options.origin, calls, mailbox, clock, runtime, pace=pace, limits=limits)


def start_sealer(
    sealer: Sealer, signals: Signals, options: SealOptions, *, refuse_cold: bool = False
) -> bool:
    """Start it; whether the entries that the log has are vouched for by the key that this start goes on with.

    What it finds, and troubles from now on, are told on stderr; a stop ends the wait for room on the disk.

    Raises:
        EpochsealError: see `Sealer.start` and `ready_state_dir`.
    """
    sealer.full_disk.pause = signals.pause
    sealer.full_disk.tell = lambda cause: print_message(stall_message(cause))
    sealer.outage.tell = lambda outlook, trouble: print_message(outage_message(outlook, trouble))
    sealer.turns.tell = lambda begun: print_message(begun_message(begun, options.logdir))
    state_dir = ready_state_dir(
        options.state_dir, options.logdir, lambda reason: print_message(no_state_directory(reason))
    )
    point = sealer.start(state_dir, keep_carry=options.keep_carry, refuse_cold=refuse_cold)
    for message in start_messages(point, sealer.entries):
        print_message(message)
    return point.link != "cold"


def stdin_stream(_signals: Signals) -> int:
    """Standard input, with a pipe's buffer made as large as this user may."""
    with suppress(OSError):
        fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
    return os.dup(0)
