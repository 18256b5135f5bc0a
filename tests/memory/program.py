"""`epochseal` with something changed in it: `python -m tests.memory.program CHANGE[,CHANGE] WORDS…`.

Each leak is a mistake that somebody could make in good faith; the scans must see every one of them. The other
changes take away what a kernel or a Python may not have, or have a courier do what is otherwise rare.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from epochseal.__main__ import main
from epochseal.custody import hmac_in_place as inplace
from epochseal.custody import memory, ratchet
from epochseal.custody.courier_messages import IssueCall, IssueReply, SignCall
from epochseal.custody.courier_process import CourierProcess
from epochseal.custody.zygote import Zygote
from epochseal.encoding import b64encode
from epochseal.format.note import parse_checkpoint
from epochseal.keys import SECRET_SIZE, Context, Issued, load_backend, settings_of
from epochseal.sealing import chain, epoch_turns, log_state
from epochseal.sealing.backend_calls import BackendCalls
from epochseal.sealing.carry_file import CarriedClose
from epochseal.sealing.epoch_turns import EpochTurns
from epochseal.service import launch

RECORD = "ISSUED_SECRETS_RECORD"
"""The environment variable that names the file of "recorded"."""

_kept: list[object] = []


def _keep_a_copy() -> None:
    """`bytes(K)`: the key becomes an object that nothing wipes."""
    real = ratchet.advance

    def advance(key: memoryview, into: memoryview) -> None:
        _kept.append(bytes(key))
        real(key, into)

    _replace("advance", advance)


def _return_the_key() -> None:
    """`derive()` in the place of `derive_into`: the library returns key bytes, which are only dropped."""

    def advance(key: memoryview, into: memoryview) -> None:
        into[:] = HKDFExpand(SHA256(), ratchet.KEY_SIZE, b"epochseal/v1/next").derive(key)

    _replace("advance", advance)


def _keep_the_hmac() -> None:
    """A HMAC object that is kept: the key is gone, and its midstates are as good."""

    def compute_tag(key: memoryview, previous_tag: bytes, leaf: bytes) -> bytes:
        _kept.append(HMAC(key, SHA256()))
        mac = HMAC(key, SHA256())
        mac.update(b"epochseal/v1/tag" + previous_tag + leaf)
        return mac.finalize()

    _replace("compute_tag", compute_tag)


def _call_the_backend_here() -> None:
    """The library hvac in the agent's own process: strings, JSON and TLS buffers hold the secret there."""
    real = Zygote.start.__func__  # type: ignore[attr-defined]  # a class method's function
    named: dict[str, Any] = {}

    def start(cls: type, epoch_key: Any, checkpoint_key: Any, settings: Any, mailbox: Any) -> Any:  # noqa: ANN401  # as the real one
        named.update(key=epoch_key, settings=settings, mailbox=mailbox)
        return real(cls, epoch_key, checkpoint_key, settings, mailbox)

    def take_issued(calls: BackendCalls) -> Issued | None:
        answer = real_take(calls)
        context = calls.context
        if answer is None or not isinstance(context, Context):
            return answer
        key = named["key"]
        issuer = load_backend(key).issuer(key, settings_of(key, named["settings"]))
        return issuer.issue(context, named["mailbox"].view[:SECRET_SIZE])

    real_take = BackendCalls.take_issued
    Zygote.start = classmethod(start)  # type: ignore[assignment, method-assign]  # planted
    BackendCalls.take_issued = take_issued  # type: ignore[method-assign, assignment]  # planted


def _log_the_key() -> None:
    """A log line for debugging."""
    real = ratchet.derive_epoch_key

    def derive_epoch_key(secret_and_carry: memoryview, header_payload: bytes, into: memoryview) -> None:
        real(secret_and_carry, header_payload, into)
        sys.stderr.write(f"epochseal: debug: key {into.hex()}\n")

    _replace("derive_epoch_key", derive_epoch_key)


def _keep_a_dropped_secret() -> None:
    """The secret that waited in vain is forgotten by its owner, and stays in the page."""

    def drop(turns: EpochTurns) -> None:
        if turns._waiting is not None:  # noqa: SLF001  # planted
            turns._waiting = None  # noqa: SLF001  # as above
            _say_given_up()

    EpochTurns.drop = drop  # type: ignore[method-assign, assignment]  # planted


def _read_the_carry() -> None:
    """`read_bytes()`: the whole file, carry and all, becomes an object that nothing wipes."""
    real = log_state.read_carry  # type: ignore[attr-defined]  # imported there

    def read_carry(path: Path, into: memoryview) -> CarriedClose | None:
        _kept.append(path.read_bytes() if path.exists() else b"")
        return real(path, into)

    log_state.read_carry = read_carry  # type: ignore[attr-defined]  # as above


def _keep_the_carry_file() -> None:
    """The carry stays where it was when the log has gone on."""
    log_state.destroy_carry = lambda path: None  # type: ignore[attr-defined]  # noqa: ARG005  # as above


def _only_delete_the_carry_file() -> None:
    """The file is deleted and not overwritten: the disk still has its bytes."""
    log_state.destroy_carry = lambda path: path.unlink(missing_ok=True)  # type: ignore[attr-defined]  # as above


def _leave_the_process_open() -> None:
    """The start forgets prctl and the limits: a crash is dumped."""
    launch.harden_process = lambda: None  # type: ignore[attr-defined]  # imported there


def _leave_the_core_limit() -> None:
    """Cores of any size: what a `core_pattern` that is a program amounts to."""
    real = resource.setrlimit

    def setrlimit(which: int, limits: tuple[int, int]) -> None:
        if which != resource.RLIMIT_CORE:
            real(which, limits)

    resource.setrlimit = setrlimit


def _leave_the_page_open() -> None:
    """The page is neither locked nor kept out of dumps: a machine short of memory writes it to swap."""
    _refuse_memfd_secret()
    memory._lock = lambda region: None  # noqa: ARG005, SLF001  # planted
    mmap.MADV_DONTDUMP = mmap.MADV_NORMAL  # type: ignore[misc]  # planted


def _refuse_memfd_secret() -> None:
    """No leak: a kernel or a container without memfd_secret (ENOSYS)."""
    memory._MEMFD_SECRET = 100_000  # noqa: SLF001  # the one thing that says so


def _hide_openssl() -> None:
    """No leak: a Python that has OpenSSL linked into itself and shows none of its functions."""
    inplace._found = None  # noqa: SLF001  # as above


def _record_what_was_issued() -> None:
    """No leak: each issue call is written down as a verifier can open it, its secret wrapped."""

    def after(call: IssueCall, reply: IssueReply) -> None:
        wrapped, prev, log = (b64encode(data) for data in (reply.wrapped, call.prev, call.log))
        line = {"origin": call.origin, "log": log, "epoch": call.epoch, "prev": prev, "wrapped": wrapped}
        with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    _after_issue(after)


def _linger() -> None:
    """No leak: from epoch 1 on a courier that has a secret goes on living."""

    def after(call: IssueCall, _reply: IssueReply) -> None:
        while call.epoch:
            signal.pause()

    _after_issue(after)


def _die_with_a_secret() -> None:
    """No leak: the first courier of each epoch dies when the secret is in the mailbox, before it answers."""

    def after(call: IssueCall, _reply: IssueReply) -> None:
        lines = Path(os.environ[RECORD]).read_text(encoding="utf-8").splitlines()
        if sum(json.loads(line)["epoch"] == call.epoch for line in lines) == 1:
            os._exit(1)

    _after_issue(after)


def _die_with_each_secret() -> None:
    """No leak: as before, but every one from epoch 1 on."""

    def after(call: IssueCall, _reply: IssueReply) -> None:
        if call.epoch:
            os._exit(1)

    _after_issue(after)


def _sign_only_starts() -> None:
    """No leak: each courier dies that is to sign more than an epoch line."""
    real = CourierProcess._answer  # noqa: SLF001  # what a courier does with a call has no other name

    def answer(self: Any, call: Any) -> Any:  # noqa: ANN401  # as the real one
        if isinstance(call, SignCall) and parse_checkpoint(call.message.decode()).size > 1:
            os._exit(1)
        return real(self, call)

    CourierProcess._answer = answer  # type: ignore[method-assign]  # noqa: SLF001  # as above


def _wait_for_a_word() -> None:
    """No leak: a secret waits for its signature until SIGUSR1, not for a minute; its end is told."""
    epoch_turns.LONGEST_WAIT = math.inf
    signal.signal(signal.SIGUSR1, lambda *_: setattr(epoch_turns, "LONGEST_WAIT", 0.0))
    real = EpochTurns.drop

    def drop(turns: EpochTurns) -> None:
        waits = turns._waiting is not None  # noqa: SLF001  # nothing else shows it
        real(turns)
        if waits:
            _say_given_up()

    EpochTurns.drop = drop  # type: ignore[method-assign, assignment]  # as above


def _say_given_up() -> None:
    sys.stderr.write(f"{GIVEN_UP}\n")
    sys.stderr.flush()


def _after_issue(after: Callable[[IssueCall, IssueReply], None]) -> None:
    child = CourierProcess
    real = child._answer  # noqa: SLF001  # what a courier does with a call has no other name

    def answer(self: Any, call: Any) -> Any:  # noqa: ANN401  # as the real one
        reply = real(self, call)
        if isinstance(call, IssueCall):
            assert isinstance(reply, IssueReply)
            after(call, reply)
        return reply

    child._answer = answer  # type: ignore[method-assign]  # noqa: SLF001  # as above


def _replace(name: str, function: Callable[..., Any]) -> None:
    for module in (ratchet, chain):
        if hasattr(module, name):
            setattr(module, name, function)
    if name == "advance":
        # The lines of blocks step between places that stay the same.
        ratchet.advance_between = lambda key, into: partial(function, key, into)


LEAKS = {
    "a copy": _keep_a_copy,
    "a derived key that is returned": _return_the_key,
    "a kept HMAC": _keep_the_hmac,
    "hvac in the agent": _call_the_backend_here,
    "a log line": _log_the_key,
}
CARRY_LEAKS = {
    "a carry that is read": _read_the_carry,
    "a carry file that is kept": _keep_the_carry_file,
    "a carry file that is only deleted": _only_delete_the_carry_file,
}
DROPPED = "a dropped secret that is kept"
GIVEN_UP = "epochseal: debug: given up"
"""What the agent says with "hurried" when it drops a secret, with that mistake too."""
OPEN = {"an open process": _leave_the_process_open, "an open page": _leave_the_page_open}
CHANGES = {
    **LEAKS,
    **CARRY_LEAKS,
    DROPPED: _keep_a_dropped_secret,
    **OPEN,
    "no memfd_secret": _refuse_memfd_secret,
    "OpenSSL hidden": _hide_openssl,
    "no core limit": _leave_the_core_limit,
    "recorded": _record_what_was_issued,
    "lingering": _linger,
    "dying": _die_with_a_secret,
    "dead": _die_with_each_secret,
    "unsigned": _sign_only_starts,
    "hurried": _wait_for_a_word,
}


if __name__ == "__main__":
    for change in sys.argv.pop(1).split(","):
        CHANGES[change]()
    main()
