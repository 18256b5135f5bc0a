"""Seal one line without entries: that segments were pruned, or that a key takes the place of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from epochseal.custody.courier import Courier
from epochseal.custody.memory import SecretPage, harden_process
from epochseal.custody.zygote import Zygote
from epochseal.errors import BackendError, Unavailable, VerificationError
from epochseal.examiner import probe_context
from epochseal.format.note import Signature, VerifierKey, parse_vkey, sign_text
from epochseal.format.seal_lines import Prune, Rotate
from epochseal.keys import BackendSettings, PublicKey
from epochseal.sealing.sealer import Sealer
from epochseal.service.commit_loop import Closing, SystemClock
from epochseal.service.launch import SealOptions, helping, make_sealer, sealing, start_sealer
from epochseal.service.signals import Signals
from epochseal.storage.durable import DirectoryLock
from epochseal.upkeep.rotation import (
    RotationRequest,
    has_unsigned_rotation,
    plan_checkpoint_key,
    plan_epoch_key,
)


def seal_prune(options: SealOptions, body: Prune, *, remove: Callable[[], None]) -> None:
    """Seal one `prune` line and have it signed; then `remove` is called, with the directory still locked.

    Raises:
        ConfigError: the log could not be gone on with by the key that sealed it; nothing was touched.
        Unavailable: the line is not under a signed checkpoint, so nothing was removed.
        EpochsealError: see `Sealer.start`.
    """
    with ExitStack() as stack:
        sealer = stack.enter_context(sealing(options))
        signals = stack.enter_context(Signals().installed())
        start_sealer(sealer, signals, options, refuse_cold=True)
        closing = Closing(sealer)
        while not sealer.live and not signals.stop_asked and closing.step():
            pass
        if pruned := sealer.live:
            sealer.record(body)
        closing.close()
        if not pruned or sealer.checkpoints or signals.stop_asked:
            raise Unavailable(
                "the prune line has no signed checkpoint yet: nothing was removed",
                str(sealer.calls.last_error or "run prune again"),
            )
        remove()


def seal_rotation(
    options: SealOptions,
    wanted: RotationRequest,
    settings: BackendSettings,
    *,
    dry_run: bool,
    planned: Callable[[Rotate], None],
) -> None:
    """Seal one `rotate` line and have it signed, by the old checkpoint key and the new one if that changes.

    Args:
        options: with the keys that the log has.
        wanted: which key takes the place of one of them, and why.
        settings: what the backends are handed, by family.
        dry_run: ask the backends and make the line, and write nothing.
        planned: is told the line before it is sealed.

    Raises:
        ConfigError: the key has nothing to take the place of, the named one is not the log's, or the
            log could not be gone on with by the key that sealed it.
        LogBusy: an agent seals here.
        Unavailable: the line is not under a checkpoint with the signatures that it needs; run it again.
        EpochsealError: see `Sealer.start`.
    """
    if wanted.key == "epoch":
        new = replace(options, epoch_key=wanted.uri)
    else:
        new = replace(options, checkpoint_key=wanted.uri)
    if dry_run:
        with DirectoryLock(options.logdir):
            pass  # a running agent is noticed here, before any backend is asked for anything
    harden_process()
    with ExitStack() as stack:
        old_helper, old_mailbox = stack.enter_context(helping(options, settings))
        helper, mailbox = stack.enter_context(helping(new, settings))
        # Of a compromised checkpoint key nothing is signed any more: the new one signs alone.
        alone = wanted.key == "checkpoint" and wanted.compromised
        signing = (helper, mailbox) if alone else (old_helper, old_mailbox)
        sealer = make_sealer(options, settings, *signing)
        stack.callback(sealer.release)
        signals = stack.enter_context(Signals().installed())
        # Behind the line of a rotation that was interrupted the old key signs nothing alone: whoever goes by
        # that key would find a checkpoint that is not its own any more.
        hold = alone or has_unsigned_rotation(options.logdir)
        if not dry_run:
            sealer.checkpoints.hold = hold
            # Before any backend is asked: it refuses where the log cannot be gone on with.
            start_sealer(sealer, signals, options, refuse_cold=True)
        if wanted.key == "epoch":
            body = _plan_epoch_key(options, wanted, helper, mailbox)
        else:
            old_key = _public_key(old_helper)
            body = _plan_checkpoint_key(options, wanted, old_key, helper)
            if alone:
                sealer.checkpoints.replaces = old_key
        planned(body)
        if not dry_run:
            endorsed = body.key == "checkpoint" and not alone
            endorser = partial(_endorse, helper, parse_vkey(body.new)) if endorsed else None
            _seal_rotate(sealer, signals, body, endorser, hold=hold)


def _seal_rotate(
    sealer: Sealer, signals: Signals, body: Rotate, endorser: Callable[[str], Signature] | None, *, hold: bool
) -> None:
    closing = Closing(sealer)
    # A checkpoint with both signatures hands the log over to the new key, so only the one that covers the
    # rotate line may have both. Earlier ones are waited for, under the old key, before the line is sealed.
    while not _may_rotate(sealer, hold=hold):
        if signals.stop_asked or not closing.step():
            break
    if ready := _may_rotate(sealer, hold=hold):
        sealer.record(body)
        sealer.checkpoints.endorser = endorser
    closing.close()
    if not ready or sealer.checkpoints:
        raise Unavailable(
            "the rotate line is not under a signed checkpoint yet: the log keeps the key that it had",
            str(sealer.calls.last_error or "run rotate again"),
        )


def _may_rotate(sealer: Sealer, *, hold: bool) -> bool:
    return sealer.begun if hold else sealer.live and not sealer.checkpoints


def _plan_epoch_key(
    options: SealOptions, wanted: RotationRequest, helper: Zygote, mailbox: SecretPage
) -> Rotate:
    with _courier(helper) as courier:
        courier.ask_issue(probe_context(options.origin))
        key_id = courier.take_issued().key_id
        mailbox.wipe()
    return plan_epoch_key(options.logdir, wanted, key_id, SystemClock().now())


def _plan_checkpoint_key(
    options: SealOptions, wanted: RotationRequest, old_key: PublicKey, helper: Zygote
) -> Rotate:
    keys = VerifierKey(options.origin, old_key), VerifierKey(options.origin, _public_key(helper))
    return plan_checkpoint_key(options.logdir, wanted, *keys, SystemClock().now())


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
