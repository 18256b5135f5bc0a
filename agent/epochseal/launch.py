"""Put an agent together in the one order that keeps keys and locks where they belong (docs/threat-model.md).

Options, pages, zygote (which alone imports the backends), directory lock; then signals and the loop.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from epochseal.agent import Agent, StopSignal, SystemClock
from epochseal.calls import BackendCalls
from epochseal.chain import Pace
from epochseal.courier import Zygote
from epochseal.errors import BackendError, ConfigError
from epochseal.keys import KeyURI
from epochseal.memory import SecretPage, harden_process
from epochseal.restart import Finding
from epochseal.runtime import Runtime
from epochseal.sealer import Limits, Sealer
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
    max_entry_bytes: int = 128 << 20
    runtime_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("epoch_interval", "block_bytes", "segment_bytes", "max_entry_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} must be more than 0")


def seal_stream(
    options: SealOptions, open_stream: Callable[[], int], name: str, *,
    acknowledge: Callable[[int], None], started: Callable[[Finding], None],
) -> int:  # fmt: skip  # one argument a line would hide that these belong together
    """Seal a stream until it ends or a stop is asked for; the number of entries in the log.

    Args:
        options: what to seal with.
        open_stream: gives the descriptor; called once the helpers are forked, so that none of them holds it.
        name: the source's name in the log.
        acknowledge: is told the number of durable entries of the whole log, after the start and each commit.
        started: is told what was found in the directory.

    Raises:
        EpochsealError: see `Agent.run` and `Sealer.start`.
    """
    harden_process()
    mailbox = SecretPage()
    zygote = Zygote.start(options.epoch_key, options.checkpoint_key, {}, mailbox)
    if options.runtime_dir is not None:
        runtime = Runtime.in_directory(options.runtime_dir, options.logdir)
    else:
        runtime = Runtime.in_memory()
    clock = SystemClock()
    calls = BackendCalls(zygote, clock.monotonic, lambda: secrets.randbelow(1024) / 1024)
    limits = Limits(epoch_entries=options.epoch_max_entries, segment_bytes=options.segment_bytes)
    pace = Pace(interval=options.epoch_interval)
    sealer = Sealer(
        options.logdir, options.origin, calls, mailbox, clock, runtime, pace=pace, limits=limits
    )  # fmt: skip  # one call
    try:
        with StopSignal().installed() as stop:
            started(sealer.start())
            acknowledge(sealer.entries)
            source = StreamSource(
                open_stream(), name, block_bytes=options.block_bytes, max_entry_bytes=options.max_entry_bytes
            )
            agent = Agent(
                sealer, source, stop, commit_interval=options.commit_interval / 1000, acknowledge=acknowledge
            )
            unsealed = agent.run()
            if unsealed:
                raise BackendError(
                    f"{unsealed} bytes were read but not sealed: the backend gave no key before the stop",
                    str(calls.last_error or "") or None,
                )
            return sealer.entries
    finally:
        sealer.close()
        zygote.close()
        mailbox.close()


def stdin_stream() -> int:
    """Standard input, with a pipe's buffer made as large as this user may."""
    import contextlib
    import fcntl

    with contextlib.suppress(OSError):
        fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, 1 << 20)
    return os.dup(0)
