"""What bounds a backend call, whatever the backend does; and a zygote that is killed or stopped."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import NoReturn

import pytest

from epochseal.custody import courier_process
from epochseal.custody import zygote as zygote_module
from epochseal.custody.memory import SecretPage
from epochseal.errors import Unavailable
from epochseal.keys import SECRET_SIZE, Context, Issued, parse_key_uri
from epochseal.polling import is_readable
from tests.unit.custody.test_courier import (
    CONTEXT,
    backend,
    children,
    fork_courier,
    keys,
    mailbox,
    wait_until,
    zygote,
)

__all__ = ["keys", "mailbox"]  # fixtures


def test_a_dripping_answer_ends_in_time_and_says_so(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then keeps every read quick; the whole call has its time, and the reason is told."""

    def drip(context: Context, into: memoryview) -> NoReturn:
        del context, into
        while True:
            try:
                time.sleep(0.01)
            except Exception:  # noqa: BLE001, S112  # as a library that retries whatever fails
                continue

    monkeypatch.setattr(courier_process, "CALL_SECONDS", 1)
    with backend(monkeypatch, drip), zygote(mailbox) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        with pytest.raises(Unavailable, match="no whole answer within 1 seconds"):
            messenger.take_issued()


def test_a_library_that_swallows_everything_is_ended(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one that takes our alarm for an error of its own cannot outlive its call by more than seconds."""

    def swallow(context: Context, into: memoryview) -> NoReturn:
        del context, into
        while True:
            try:
                time.sleep(0.01)
            except BaseException:  # noqa: BLE001, S112  # the worst of libraries
                continue

    monkeypatch.setattr(courier_process, "CALL_SECONDS", 1)
    monkeypatch.setattr(courier_process, "_LAST_SECONDS", 1)
    with backend(monkeypatch, swallow), zygote(mailbox) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        with pytest.raises(Unavailable, match="without an answer"):
            messenger.take_issued()


def test_an_answer_without_end_is_given_up(mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A courier takes so much memory and no more, and says what it was."""

    def take_all(context: Context, into: memoryview) -> NoReturn:
        del context, into
        pieces = []
        while True:
            pieces.append(bytes(1 << 20))

    monkeypatch.setattr(courier_process, "CALL_MEMORY", 64 << 20)
    with backend(monkeypatch, take_all), zygote(mailbox) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        with pytest.raises(Unavailable, match="needs more than 64 MiB"):
            messenger.take_issued()


def test_an_earlier_courier_never_writes_over_a_later_secret(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A call that was given up has an answer later: by then its process is ended."""
    late = tmp_path / "late"

    def issue(context: Context, into: memoryview) -> Issued:
        if context.epoch == CONTEXT.epoch:
            while not late.exists():
                time.sleep(0.002)
            time.sleep(0.05)
            into[:] = b"X" * SECRET_SIZE
        else:
            into[:] = b"s" * SECRET_SIZE
        return Issued("key", b"wrapped")

    with backend(monkeypatch, issue), zygote(mailbox) as made:
        first = made.courier()
        first.ask_issue(CONTEXT)
        wait_until(lambda: len(children(made.pid)) == 1)
        (stopped,) = children(made.pid)
        os.kill(stopped, signal.SIGSTOP)
        first.close()
        with fork_courier(made) as second:
            second.ask_issue(Context(CONTEXT.origin, CONTEXT.log, 4, CONTEXT.prev))
            second.take_issued()
            late.touch()
            wait_until(lambda: not Path(f"/proc/{stopped}").exists())
            time.sleep(0.1)
            assert bytes(mailbox.view[:SECRET_SIZE]) == b"s" * SECRET_SIZE


def test_a_call_that_is_given_up_ends_at_once(mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is written into the mailbox behind the agent's wiping of it."""

    def hang(context: Context, into: memoryview) -> NoReturn:
        del context, into
        while True:
            signal.pause()

    with backend(monkeypatch, hang), zygote(mailbox) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        wait_until(lambda: len(children(made.pid)) == 1)
        made.end_courier()
        wait_until(lambda: not children(made.pid))


def test_where_no_process_can_be_made_the_reason_is_told(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of processes is no outage of the backend: the message says what it is."""
    real = os.fork
    ours = os.getpid()

    def fork() -> int:
        if os.getpid() != ours:
            raise OSError(11, "Resource temporarily unavailable")
        return real()

    def issue(context: Context, into: memoryview) -> NoReturn:
        raise AssertionError(context, into)

    monkeypatch.setattr(os, "fork", fork)
    with (
        backend(monkeypatch, issue),
        zygote(mailbox) as made,
        fork_courier(made) as messenger,
        pytest.raises(Unavailable, match="no process can be made"),
    ):
        messenger.take_issued()


def test_a_zygote_that_is_killed_is_seen_at_once(keys: Path, mailbox: SecretPage) -> None:
    """Its socket becomes readable, and there is no hope of a courier any more."""
    with zygote(mailbox, parse_key_uri(f"file:{keys / 'agent'}")) as made:
        assert made.look() == ""
        assert not is_readable(made.fileno(), 0)
        os.kill(made.pid, signal.SIGKILL)
        assert is_readable(made.fileno(), 10)
        assert "has ended" in made.look()


def test_a_zygote_that_is_stopped_counts_as_gone_after_a_while(
    keys: Path, mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is continued in time is as before; one that is not is given up, and no end waits for it."""
    monkeypatch.setattr(zygote_module, "STOPPED_SECONDS", 0.2)
    monkeypatch.setattr(zygote_module, "END_SECONDS", 0.2)
    with zygote(mailbox, parse_key_uri(f"file:{keys / 'agent'}")) as made:
        os.kill(made.pid, signal.SIGSTOP)
        wait_until(lambda: made.look() == "" and made._seen_stopped is not None)  # noqa: SLF001  # seen once
        os.kill(made.pid, signal.SIGCONT)
        wait_until(lambda: made.look() == "" and made._seen_stopped is None)  # noqa: SLF001  # and forgotten
        os.kill(made.pid, signal.SIGSTOP)
        wait_until(lambda: "is stopped" in made.look())
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert not Path(f"/proc/{made.pid}").exists()


def test_time_that_the_agent_slept_through_does_not_count(
    keys: Path, mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were held still, and the agent went on first: twice it sees the other stopped, an hour apart."""
    with zygote(mailbox, parse_key_uri(f"file:{keys / 'agent'}")) as made:
        os.kill(made.pid, signal.SIGSTOP)
        wait_until(lambda: made.look() == "" and made._seen_stopped is not None)  # noqa: SLF001  # seen once
        later = time.monotonic() + 3600
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert made.look() == ""
        monkeypatch.undo()
        os.kill(made.pid, signal.SIGCONT)
        wait_until(lambda: made.look() == "" and made._seen_stopped is None)  # noqa: SLF001  # as before


def test_without_descriptors_a_call_is_tried_again_later(keys: Path, mailbox: SecretPage) -> None:
    """EMFILE at a backend call is an outage, and ends nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with zygote(mailbox, parse_key_uri(f"file:{keys / 'agent'}")) as made:
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(4)]
        # All below the highest one are taken: the system gives the lowest that is free.
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken) + 1, hard))
        try:
            with pytest.raises(Unavailable, match="no socket can be made"):
                made.courier()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)
        with fork_courier(made) as messenger:
            messenger.ask_issue(CONTEXT)
            assert messenger.take_issued().wrapped
