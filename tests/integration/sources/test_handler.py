from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import structlog

from epochseal.handler import NotSealed, SealedHandler
from tests.integration.agents import Place, tmpfs, wait_until
from tests.integration.sources.sockets import SocketAgent, blocks, checked, lines_of, socket_agent

EVIL = "a\nb\rc\x1b[2J\u2028d\u2029e\x85f\x00 back\\slash \udcff"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A log and its keys."""
    with tmpfs() as runtime:
        yield Place(tmp_path, runtime)


@pytest.fixture
def agent(place: Place) -> Iterator[SocketAgent]:
    """A running agent."""
    with socket_agent(place, "unix-stream") as agent:
        yield agent


def record(message: str) -> logging.LogRecord:
    """A record with a message as it is."""
    return logging.LogRecord("audit", logging.INFO, __file__, 1, message, (), None)


def logger_to(handler: SealedHandler) -> logging.Logger:
    """A logger with this handler alone."""
    logger = logging.getLogger("test_handler.audit")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG)
    return logger


def test_importing_it_needs_the_standard_library_alone() -> None:
    """A service that logs loads none of the agent's libraries."""
    code = "import sys, epochseal.handler; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    modules = {name.partition(".")[0] for name in done.stdout.split()}
    assert not modules & {"msgspec", "cryptography", "click", "rich"}
    ours = {name for name in done.stdout.split() if name.startswith("epochseal")}
    assert ours == {"epochseal"} | {
        f"epochseal.{name}" for name in ("version", "handler", "delivery", "errors")
    }


def test_the_number_is_that_of_the_record(agent: SocketAgent, place: Place) -> None:
    """`seal` gives the number at which the record stands in the log; by then it is durable."""
    handler = SealedHandler(agent.path)
    numbers = [handler.seal(record(f"record {number}")) for number in range(20)]
    assert [lines_of(place)[number] for number in numbers] == [b"record %d" % number for number in range(20)]
    handler.close()
    agent.stop()
    assert checked(place).entries == 20


def test_a_record_cannot_make_a_second_entry(agent: SocketAgent, place: Place) -> None:
    """Whatever ends a line or steers a terminal is escaped; tab, backslash and other letters stay."""
    handler = SealedHandler(agent.path)
    assert [handler.seal(record(text)) for text in (EVIL, "", "tab\tä€")] == [0, 1, 2]
    handler.close()
    stored = lines_of(place)
    assert stored[0] == rb"a\nb\rc\x1b[2J\u2028d\u2029e\x85f\x00 back\slash \udcff"
    assert stored[1:] == [b"", "tab\tä€".encode()]


def test_threads_share_commits(agent: SocketAgent, place: Place) -> None:
    """Twenty threads at once: each gets the number of its own record, with fewer commits than records."""
    handler = SealedHandler(agent.path)
    found: dict[str, int] = {}

    def work(thread: int) -> None:
        for each in range(50):
            text = f"thread {thread} record {each}"
            found[text] = handler.seal(record(text))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handler.close()
    agent.stop()
    stored = lines_of(place)
    assert {text: stored[number].decode() for text, number in found.items()} == {text: text for text in found}
    assert len(found) == len(stored) == 1000
    assert len(blocks(place)) < 500


def test_a_logger_raises_when_nothing_is_sealed(place: Place) -> None:
    """With no agent a logging call raises in its time, also where errors of handlers are not to be raised."""
    logger = logger_to(SealedHandler(place.folder / "none", timeout=0.3))
    before, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        start = time.monotonic()
        with pytest.raises(NotSealed, match=r"1 record.s. not acknowledged within 0\.3 s") as caught:
            logger.info("lost?")
    finally:
        logging.raiseExceptions = before
    assert 0.3 <= time.monotonic() - start < 5
    assert caught.value.hint == "cannot connect: No such file or directory"


def test_what_was_given_up_is_not_kept(place: Place) -> None:
    """Records that nobody took in time use no memory while the agent is away, and do not come later."""
    handler = SealedHandler(place.folder / "s", timeout=0.05)
    for _ in range(5):
        with pytest.raises(NotSealed):
            handler.seal(record("x" * 1000))
    with socket_agent(place, "unix-stream") as agent:
        patient = SealedHandler(place.folder / "s", timeout=60)
        patient.seal(record("first"))
        for _ in range(50):
            # Its time is short, so that on a slow machine it may need another try.
            with suppress(NotSealed):
                handler.seal(record("later"))
                break
        handler.close()
        patient.close()
        agent.stop()
    assert lines_of(place)[0] == b"first"
    assert set(lines_of(place)[1:]) == {b"later"}


def test_an_agent_that_comes_late_is_waited_for(place: Place) -> None:
    """A record that finds no agent is sealed once there is one."""
    handler = SealedHandler(place.folder / "s", timeout=60)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(handler.seal(record("early"))))
    thread.start()
    time.sleep(0.2)
    with socket_agent(place, "unix-stream") as agent:
        thread.join()
        handler.close()
        agent.stop()
    assert found == [0]
    assert lines_of(place) == [b"early"]


@pytest.mark.parametrize("wait", [True, False])
def test_an_agent_that_is_killed(place: Place, wait: bool) -> None:  # noqa: FBT001  # a parameter of the test
    """Over three kills no record is lost, and numbers given are right; a record may be there twice."""
    handler = SealedHandler(place.folder / "s", timeout=60, wait=wait)
    sent: list[str] = []
    numbers: list[int] = []
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            sent.append(f"record {len(sent)}")
            if wait:
                numbers.append(handler.seal(record(sent[-1])))
            else:
                handler.handle(record(sent[-1]))
                time.sleep(0.0002)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(3):
        with socket_agent(place, "unix-stream", runtime=str(place.runtime)) as agent:
            goal = len(sent) + 30
            wait_until(partial(_longer, sent, goal))
            agent.kill()
    with socket_agent(place, "unix-stream", runtime=str(place.runtime)) as agent:
        done.set()
        thread.join()
        handler.close()
        agent.stop()
    stored = [line.decode() for line in lines_of(place)]
    assert list(dict.fromkeys(stored)) == sent
    assert [stored[number] for number in numbers] == sent[: len(numbers)]
    checked(place)


def _longer(sent: list[str], goal: int) -> bool:
    return len(sent) > goal


def test_pipelined_records_raise_later(place: Place) -> None:
    """With `wait=False` a lost record is told by a later call, once, and by `flush`."""
    handler = SealedHandler(place.folder / "none", timeout=0.2, wait=False)
    handler.handle(record("a"))
    handler.handle(record("b"))
    time.sleep(0.3)
    with pytest.raises(NotSealed, match="2 record"):
        handler.handle(record("c"))
    handler.handle(record("d"))
    with pytest.raises(NotSealed, match="1 record"):
        handler.flush()
    handler.close()


def test_pipelined_records_are_sealed_in_order(agent: SocketAgent, place: Place) -> None:
    """With `wait=False` 30,000 records are all there after `close`, beyond the bound of records under way."""
    handler = SealedHandler(agent.path, timeout=60, wait=False)
    for number in range(30_000):
        handler.handle(record(str(number)))
    handler.close()
    assert lines_of(place) == [b"%d" % number for number in range(30_000)]


def test_a_flush_ends_though_others_go_on(agent: SocketAgent) -> None:
    """Else a program would not end whose threads log for ever: `logging` closes its handlers last."""
    handler = SealedHandler(agent.path, timeout=180)
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            handler.seal(record("again"))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    flusher = threading.Thread(target=handler.flush, daemon=True)
    flusher.start()
    flusher.join(180)
    ended = not flusher.is_alive()
    done.set()
    for worker in workers:
        worker.join()
    flusher.join()
    handler.close()
    assert ended


def test_an_agent_that_does_not_answer(tmp_path: Path) -> None:
    """A socket that takes records and says nothing, and one that says something else, end in `NotSealed`."""
    for answer, hint in ((b"", "does not seal"), (b"hello\n", "no agent"), (b"0 7\n", "no agent")):
        path = tmp_path / f"s{len(answer)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen()
            handler = SealedHandler(path, timeout=0.3)
            done = threading.Event()
            thread = threading.Thread(target=_answer, args=(listener, answer, done))
            thread.start()
            try:
                with pytest.raises(NotSealed) as caught:
                    handler.seal(record("x"))
            finally:
                done.set()
                thread.join()
            assert hint in str(caught.value.hint)


def _answer(listener: socket.socket, answer: bytes, done: threading.Event) -> None:
    listener.settimeout(0.1)
    kept = []
    while not done.is_set():
        try:
            sock, _ = listener.accept()
        except OSError:
            continue
        sock.sendall(answer)
        kept.append(sock)
    for sock in kept:
        sock.close()


def test_a_fork_has_a_connection_of_its_own(agent: SocketAgent, place: Place) -> None:
    """Parent and child log at once through one handler: each gets the numbers of its own records."""
    handler = SealedHandler(agent.path)
    handler.seal(record("before"))
    if (child := os.fork()) == 0:
        status = 1
        try:
            numbers = [handler.seal(record(f"child {each}")) for each in range(100)]
            stored = lines_of(place)
            status = int(
                [stored[number] for number in numbers] != [b"child %d" % each for each in range(100)]
            )
        finally:
            os._exit(status)
    numbers = [handler.seal(record(f"parent {each}")) for each in range(100)]
    assert os.waitpid(child, 0)[1] == 0
    stored = lines_of(place)
    assert [stored[number] for number in numbers] == [b"parent %d" % each for each in range(100)]
    handler.close()


def test_filters_and_level_hold(agent: SocketAgent, place: Place) -> None:
    """What a filter or the level keeps out is not sealed, and a filter may replace a record."""
    handler = SealedHandler(agent.path, level=logging.INFO)
    handler.addFilter(lambda item: "secret" not in item.getMessage())
    logger = logger_to(handler)
    logger.debug("too low")
    logger.info("a secret")
    logger.info("open %s", "door")
    handler.close()
    assert lines_of(place) == [b"open door"]


def test_a_record_that_cannot_be_formatted_raises(agent: SocketAgent) -> None:
    """It cannot be sealed, so the caller is told."""
    logger = logger_to(SealedHandler(agent.path))
    with pytest.raises(TypeError):
        logger.info("%d", "no number")


def test_structlog_through_logging(agent: SocketAgent, place: Place) -> None:
    """Events of structlog are sealed as JSON that is given back unchanged."""
    handler = SealedHandler(agent.path)
    logger = logger_to(handler)
    bound = structlog.wrap_logger(
        logger,
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
    )
    bound.info("login", user="alice\nevil", path="C:\\temp")
    handler.close()
    (line,) = lines_of(place)
    assert json.loads(line) == {"user": "alice\nevil", "path": "C:\\temp", "event": "login"}
