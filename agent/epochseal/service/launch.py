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
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from epochseal.config.environment import settings_from_environment
from epochseal.custody.courier import Courier
from epochseal.custody.memory import SecretPage, harden_process
from epochseal.custody.zygote import Zygote
from epochseal.errors import BackendError, ConfigError, VerificationError
from epochseal.examiner import probe_context
from epochseal.format.note import Signature, VerifierKey, parse_vkey, sign_text
from epochseal.format.seal_lines import Prune, Rotate
from epochseal.keys import BackendSettings, KeyURI, PublicKey
from epochseal.sealing import defaults
from epochseal.sealing.backend_calls import BackendCalls
from epochseal.sealing.backend_outage import Outlook
from epochseal.sealing.chain import Pace
from epochseal.sealing.limits import Limits
from epochseal.sealing.page_store import PageStore
from epochseal.sealing.restart_point import RestartPoint
from epochseal.sealing.sealer import Sealer
from epochseal.service.commit_loop import Closing, CommitLoop, SystemClock
from epochseal.service.signals import Signals
from epochseal.sources.stream import StreamSource
from epochseal.storage.durable import DirectoryLock, DiskFullError
from epochseal.upkeep.rotation import RotationRequest, plan_checkpoint_key, plan_epoch_key


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
        sealer.full_disk.pause, sealer.full_disk.tell = signals.pause, tell_stall
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
        loop = CommitLoop(
            sealer, [source], signals, commit_interval=options.commit_interval / 1000, acknowledge=acknowledge
        )
        if unsealed := loop.run():
            raise BackendError(
                f"{unsealed} bytes were read but not sealed: the backend gave no key before the stop",
                str(sealer.calls.last_error or "") or None,
            )
        return sealer.entries


def seal_prune(
    options: SealOptions, body: Prune, *, started: Callable[[RestartPoint], None], remove: Callable[[], None]
) -> None:
    """Seal one `prune` line and have it signed; then `remove` is called, with the directory still locked.

    Raises:
        BackendError: the line is not under a signed checkpoint, so nothing was removed.
        EpochsealError: see `Sealer.start`.
    """
    with ExitStack() as stack:
        sealer = stack.enter_context(sealing(options))
        signals = stack.enter_context(Signals().installed())
        sealer.full_disk.pause, sealer.full_disk.tell = signals.pause, tell_stall
        sealer.outage.tell = tell_outage
        started(sealer.start())
        closing = Closing(sealer)
        while not sealer.live and not signals.stop_asked and closing.step():
            pass
        if pruned := sealer.live:
            sealer.record(body)
        closing.close()
        if not pruned or sealer.checkpoints or signals.stop_asked:
            raise BackendError(
                "the prune line has no signed checkpoint yet: nothing was removed",
                str(sealer.calls.last_error or "run prune again"),
            )
        remove()


def seal_rotation(
    options: SealOptions,
    wanted: RotationRequest,
    settings: BackendSettings,
    *,
    planned: Callable[[Rotate], bool],
    started: Callable[[RestartPoint], None],
) -> None:
    """Seal one `rotate` line and have it signed, by the old checkpoint key and the new one if that changes.

    Args:
        options: with the keys that the log has.
        wanted: which key takes the place of one of them, and why.
        settings: what the backends are handed, by family.
        planned: is told the line before anything is written; whether to go on.
        started: is told what was found in the directory.

    Raises:
        ConfigError: the key has nothing to take the place of, or the named one is not the log's.
        LogBusy: an agent seals here.
        BackendError: the line is not under a checkpoint with the signatures that it needs; run it again.
        EpochsealError: see `Sealer.start`.
    """
    with DirectoryLock(options.logdir):
        pass  # so that a running agent is told of before any backend is asked
    harden_process()
    if wanted.key == "epoch":
        new = replace(options, epoch_key=wanted.uri)
    else:
        new = replace(options, checkpoint_key=wanted.uri)
    with ExitStack() as stack:
        old_helper, old_mailbox = stack.enter_context(_helping(options, settings))
        helper, mailbox = stack.enter_context(_helping(new, settings))
        if wanted.key == "epoch":
            with _courier(helper) as courier:
                courier.ask_issue(probe_context(options.origin))
                key_id = courier.take_issued().key_id
                mailbox.wipe()
            old_key, body = None, plan_epoch_key(options.logdir, wanted, key_id, SystemClock().now())
        else:
            old_key, new_key = _public_key(old_helper), _public_key(helper)
            keys = VerifierKey(options.origin, old_key), VerifierKey(options.origin, new_key)
            body = plan_checkpoint_key(options.logdir, wanted, *keys, SystemClock().now())
        if not planned(body):
            return
        alone = old_key is not None and bool(body.compromised)
        sealer = _make_sealer(options, *((helper, mailbox) if alone else (old_helper, old_mailbox)))
        stack.callback(sealer.release)
        if alone:
            sealer.checkpoints.replaces = old_key
        signals = stack.enter_context(Signals().installed())
        sealer.full_disk.pause, sealer.full_disk.tell = signals.pause, tell_stall
        sealer.outage.tell = tell_outage
        started(sealer.start())
        closing = Closing(sealer)
        # Nothing but the checkpoint behind the line may bear both signatures: it is what hands over.
        while not (sealer.begun if alone else sealer.live and not sealer.checkpoints):
            if signals.stop_asked or not closing.step():
                break
        ready = sealer.begun if alone else sealer.live and not sealer.checkpoints
        if ready:
            sealer.record(body)
            if old_key is not None and not alone:
                sealer.checkpoints.endorser = partial(_endorse, helper, parse_vkey(body.new))
        closing.close()
        if not ready or sealer.checkpoints:
            raise BackendError(
                "the rotate line is not under a signed checkpoint yet: the log keeps the key that it had",
                str(sealer.calls.last_error or "run rotate again"),
            )


def _endorse(helper: Zygote, key: VerifierKey, text: str) -> Signature:
    with _courier(helper) as courier:
        courier.ask_signature(text.encode())
        try:
            return sign_text(text, key, courier.take_signature())
        except VerificationError as exc:
            raise BackendError("the new key's signature does not verify with its own public key") from exc


def _public_key(helper: Zygote) -> PublicKey:
    with _courier(helper) as courier:
        courier.ask_key()
        return courier.take_key()


@contextmanager
def _courier(helper: Zygote) -> Iterator[Courier]:
    courier = helper.courier()
    try:
        yield courier
    finally:
        courier.close()


@contextmanager
def _helping(options: SealOptions, settings: BackendSettings) -> Iterator[tuple[Zygote, SecretPage]]:
    """What makes the calls to the backends of these keys, and where their secrets arrive."""
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
        zygote, mailbox = stack.enter_context(_helping(options, settings))
        sealer = _make_sealer(options, zygote, mailbox)
        stack.callback(sealer.release)
        yield sealer


def _make_sealer(options: SealOptions, zygote: Zygote, mailbox: SecretPage) -> Sealer:
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
