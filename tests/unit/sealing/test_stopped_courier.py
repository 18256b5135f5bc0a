"""A courier that is stopped has no alarm that rings: the agent gives its call up by its own clock."""

from __future__ import annotations

import os
import signal

import pytest

from epochseal.custody.memory import SecretPage
from epochseal.format.seal_lines import Asked
from epochseal.keys import Context, Issued
from epochseal.sealing import backend_calls
from epochseal.sealing.backend_calls import BackendCalls
from epochseal.service.commit_loop import SystemClock
from tests.unit.custody.test_courier import CONTEXT, backend, children, mailbox, wait_until, zygote

__all__ = ["mailbox"]  # a fixture


def test_its_call_is_made_again(mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The call is counted as given up, its process is ended, and another one has the answer."""

    def issue(context: Context, into: memoryview) -> Issued:
        while context.epoch == CONTEXT.epoch:
            signal.pause()
        into[:] = bytes(len(into))
        return Issued("key", b"wrapped")

    monkeypatch.setattr(backend_calls, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(backend_calls, "FIRST_DELAY", 0.0)
    with backend(monkeypatch, issue), zygote(mailbox) as made:
        calls = BackendCalls(made, SystemClock(), lambda: 0.0)
        calls.start_issue(CONTEXT, Asked(7, "tag"))
        wait_until(lambda: len(children(made.pid)) == 1)
        (stopped,) = children(made.pid)
        os.kill(stopped, signal.SIGSTOP)

        def given_up() -> bool:
            calls.look()
            return calls.pending is None

        wait_until(given_up)
        assert "no answer to a backend call" in str(calls.last_error)
        assert [item.calls for item in calls.abandoned] == [1]
        assert calls.gone == ""
        wait_until(lambda: not children(made.pid))
        calls.start_issue(Context(CONTEXT.origin, CONTEXT.log, 4, CONTEXT.prev), Asked(8, "tag"))
        assert calls.take_issued() is not None
