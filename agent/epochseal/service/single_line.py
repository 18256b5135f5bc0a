"""Seal one line without entries: that segments were pruned, or that a key takes the place of another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from epochseal.custody.courier import Courier
from epochseal.custody.memory import harden_process
from epochseal.custody.zygote import Zygote
from epochseal.errors import BackendError, VerificationError
from epochseal.examiner import probe_context
from epochseal.format.note import Signature, VerifierKey, parse_vkey, sign_text
from epochseal.format.seal_lines import Prune, Rotate
from epochseal.keys import BackendSettings, PublicKey
from epochseal.sealing.restart_point import RestartPoint
from epochseal.service.commit_loop import Closing, SystemClock
from epochseal.service.launch import SealOptions, helping, make_sealer, sealing, start_sealer
from epochseal.service.signals import Signals
from epochseal.storage.durable import DirectoryLock
from epochseal.upkeep.rotation import RotationRequest, plan_checkpoint_key, plan_epoch_key


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
        started(start_sealer(sealer, signals))
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
        pass  # a running agent is noticed here, before any backend is asked for anything
    harden_process()
    if wanted.key == "epoch":
        new = replace(options, epoch_key=wanted.uri)
    else:
        new = replace(options, checkpoint_key=wanted.uri)
    with ExitStack() as stack:
        old_helper, old_mailbox = stack.enter_context(helping(options, settings))
        helper, mailbox = stack.enter_context(helping(new, settings))
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
        sealer = make_sealer(options, *((helper, mailbox) if alone else (old_helper, old_mailbox)))
        stack.callback(sealer.release)
        if alone:
            sealer.checkpoints.replaces = old_key
        signals = stack.enter_context(Signals().installed())
        started(start_sealer(sealer, signals))
        closing = Closing(sealer)
        # A checkpoint with both signatures hands the log over to the new key, so only the one that covers
        # the rotate line may have both. Earlier ones are waited for, under the old key, before the line is
        # sealed.
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
