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

from epochseal.agent import Agent, Closing, Signals, SystemClock
from epochseal.calls import BackendCalls
from epochseal.chain import Pace
from epochseal.config.environment import settings_from_environment
from epochseal.courier import Zygote
from epochseal.durable import DiskFullError
from epochseal.errors import BackendError, ConfigError
from epochseal.keys import KeyURI
from epochseal.limits import Limits
from epochseal.lines import Prune
from epochseal.memory import SecretPage, harden_process
from epochseal.outage import Outlook
from epochseal.restart import Finding
from epochseal.runtime import Runtime
from epochseal.sealer import Sealer
from epochseal.sources.stream import StreamSource


@dataclass(frozen=True, slots=True, kw_only=True)
class SealOptions:
    """What a sealing command is given; durations in ms, sizes in bytes."""

    logdir: Path
    origin: str
    epoch_key: KeyURI
    checkpoint_key: KeyURI
    epoch_interval: int = 300_000
    epoch_max_entries: int | None = None
    commit_interval: int = 50
    block_bytes: int = 64 << 10
    segment_bytes: int = 256 << 20
    segment_age: int | None = None
    max_entry_bytes: int = 128 << 20
    runtime_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("epoch_interval", "block_bytes", "segment_bytes", "segment_age", "max_entry_bytes"):
            if getattr(self, name) == 0:
                raise ConfigError(
                    f"--{name.replace('_', '-')} must be more than 0", "leave it out for the default"
                )


def seal_stream(
    options: SealOptions, open_stream: Callable[[Signals], int], name: str, *,
    acknowledge: Callable[[int], None], started: Callable[[Finding], None],
) -> int:  # fmt: skip  # one argument a line would hide that these belong together
    """Seal a stream until it ends or a stop is asked for; the number of entries in the log.

    Args:
        options: what to seal with.
        open_stream: gives the descriptor; called once the helpers are forked, so that none of them holds it,
            and when the log is ready to begin. It may have signals passed on.
        name: the source's name in the log.
        acknowledge: is told the number of durable entries of the whole log, after the start and each commit.
        started: is told what was found in the directory.

    Raises:
        EpochsealError: see `Agent.run` and `Sealer.start`.
    """
    with ExitStack() as stack:
        sealer = stack.enter_context(sealing(options))
        signals = stack.enter_context(Signals().installed())
        sealer.stall.pause, sealer.stall.tell = signals.pause, tell_stall
        sealer.outage.tell = tell_outage
        started(sealer.start())
        acknowledge(sealer.entries)
        source = StreamSource(
            open_stream(signals),
            name,
            block_bytes=options.block_bytes,
            max_entry_bytes=options.max_entry_bytes,
        )
        stack.callback(source.close)
        agent = Agent(
            sealer, [source], signals, commit_interval=options.commit_interval / 1000, acknowledge=acknowledge
        )
        if unsealed := agent.run():
            raise BackendError(
                f"{unsealed} bytes were read but not sealed: the backend gave no key before the stop",
                str(sealer.calls.last_error or "") or None,
            )
        return sealer.entries


def seal_prune(
    options: SealOptions, body: Prune, *, started: Callable[[Finding], None], remove: Callable[[], None]
) -> None:
    """Seal one `prune` line and have it signed; then `remove` is called, with the directory still locked.

    Raises:
        BackendError: the line is not under a signed checkpoint, so nothing was removed.
        EpochsealError: see `Sealer.start`.
    """
    with ExitStack() as stack:
        sealer = stack.enter_context(sealing(options))
        signals = stack.enter_context(Signals().installed())
        sealer.stall.pause, sealer.stall.tell = signals.pause, tell_stall
        sealer.outage.tell = tell_outage
        started(sealer.start())
        closing = Closing(sealer)
        while not sealer.live and not signals.stop_asked and closing.step():
            pass
        if pruned := sealer.live:
            sealer.prune(body)
        closing.close()
        if not pruned or sealer.unsigned or signals.stop_asked:
            raise BackendError(
                "the prune line has no signed checkpoint yet: nothing was removed",
                str(sealer.calls.last_error or "run prune again"),
            )
        remove()


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
        mailbox = stack.enter_context(SecretPage())
        zygote = Zygote.start(options.epoch_key, options.checkpoint_key, settings, mailbox)
        stack.callback(zygote.close)
        sealer = _make_sealer(options, zygote, mailbox)
        stack.callback(sealer.close)
        yield sealer


def _make_sealer(options: SealOptions, zygote: Zygote, mailbox: SecretPage) -> Sealer:
    if options.runtime_dir is not None:
        runtime = Runtime.in_directory(options.runtime_dir, options.logdir)
    else:
        runtime = Runtime.in_memory()
    clock = SystemClock()
    calls = BackendCalls(zygote, clock, lambda: secrets.randbelow(1024) / 1024)
    limits = Limits(
        epoch_entries=options.epoch_max_entries,
        segment_bytes=options.segment_bytes,
        segment_age=options.segment_age,
    )
    pace = Pace(interval=options.epoch_interval)
    return Sealer(
        options.logdir, options.origin, calls, mailbox, clock, runtime, pace=pace, limits=limits
    )  # fmt: skip  # one call


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
