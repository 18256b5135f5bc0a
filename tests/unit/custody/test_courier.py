from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from epochseal.custody import courier_messages, courier_process
from epochseal.custody.courier import Courier
from epochseal.custody.memory import SecretPage
from epochseal.custody.zygote import Zygote
from epochseal.errors import (
    BackendError,
    ConfigError,
    Denied,
    EpochsealError,
    FormatError,
    StorageError,
    Unavailable,
    WrongKey,
)
from epochseal.keys import SECRET_SIZE, Context, Issued, KeyURI, load_backend, parse_key_uri, recover_one
from epochseal_backends.file import backend as file

CONTEXT = Context("example.com/courier", bytes(range(32)), 3, bytes(32))
URI = parse_key_uri("file:not-used")


@pytest.fixture
def mailbox() -> Iterator[SecretPage]:
    """The page that secrets arrive in."""
    with SecretPage() as page:
        yield page


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """Keys in files, one folder a role."""
    file.generate(tmp_path / "keys")
    return tmp_path / "keys"


@contextmanager
def zygote(mailbox: SecretPage, uri: KeyURI = URI) -> Iterator[Zygote]:
    """A zygote for the length of the block."""
    made = Zygote.start(uri, uri, {}, mailbox)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def backend(
    monkeypatch: pytest.MonkeyPatch, issue: Callable[[Context, memoryview], Issued]
) -> Iterator[None]:
    """A backend whose issue call does this, in every zygote that is started inside of the block."""

    def issuer(uri: KeyURI, settings: Mapping[str, str]) -> SimpleNamespace:
        del uri, settings
        return SimpleNamespace(issue=issue)

    with monkeypatch.context() as patch:
        patch.setattr(courier_process, "load_backend", lambda _uri: SimpleNamespace(issuer=issuer))
        yield


@contextmanager
def fork_courier(from_zygote: Zygote) -> Iterator[Courier]:
    """A courier for the length of the block."""
    made = from_zygote.courier()
    try:
        yield made
    finally:
        made.close()


def children(pid: int) -> list[int]:
    """The live child processes of a process."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for something that takes another process to happen."""
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_the_file_backend_through_a_courier(keys: Path, mailbox: SecretPage) -> None:
    """One courier makes all three calls: the secret is in the mailbox, the signature holds."""
    uri = parse_key_uri(f"file:{keys / 'agent'}")
    with zygote(mailbox, uri) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        issued = messenger.take_issued()
        recovered = bytearray(SECRET_SIZE)
        verifier = parse_key_uri(f"file:{keys / 'verifier'}")
        recoverer = load_backend(verifier).recoverer(verifier, {})
        recover_one(recoverer, issued.wrapped, CONTEXT, memoryview(recovered))
        assert mailbox.view[:SECRET_SIZE] == recovered
        assert any(recovered)
        messenger.ask_key()
        key = messenger.take_key()
        messenger.ask_signature(b"message")
        Ed25519PublicKey.from_public_bytes(key.data).verify(messenger.take_signature(), b"message")


def test_each_backend_is_handed_its_own_settings(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With keys in two families neither backend sees what the other one logs in with."""

    def refuse(uri: KeyURI, settings: Mapping[str, str]) -> NoReturn:
        raise Denied(f"{uri.scheme} {dict(settings)}")

    module = SimpleNamespace(issuer=refuse, signer=refuse)
    settings = {"vault": {"address": "v"}, "aws": {"region": "a"}, "pkcs11": {"module": "p"}}
    keys = parse_key_uri("openbao://transit/epoch"), parse_key_uri("awskms:///alias/checkpoint")
    with monkeypatch.context() as patch:
        patch.setattr(courier_process, "load_backend", lambda _uri: module)
        made = Zygote.start(*keys, settings, mailbox)
    try:
        with fork_courier(made) as messenger:
            messenger.ask_issue(CONTEXT)
            with pytest.raises(Denied, match=r"^openbao {'address': 'v'}$"):
                messenger.take_issued()
            messenger.ask_signature(b"message")
            with pytest.raises(Denied, match=r"^awskms {'region': 'a'}$"):
                messenger.take_signature()
    finally:
        made.close()


def test_a_secret_is_in_no_message(keys: Path, mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that come over the socket hold the secret in no form; the mailbox alone has it."""
    seen: list[bytes] = []
    replies = courier_messages._replies  # noqa: SLF001  # what every answer goes through

    def watch(message: bytes) -> object:
        seen.append(message)
        return replies.decode(message)

    uri = parse_key_uri(f"file:{keys / 'agent'}")
    with zygote(mailbox, uri) as made, fork_courier(made) as messenger:
        monkeypatch.setattr(courier_messages, "_replies", SimpleNamespace(decode=watch))
        messenger.ask_issue(CONTEXT)
        messenger.take_issued()
    secret = bytes(mailbox.view[:SECRET_SIZE])
    assert any(secret)
    assert len(seen) == 1
    for form in (secret, secret[:8], secret[-8:], secret.hex().encode(), secret.hex().upper().encode()):
        assert form not in seen[0]


def test_a_courier_ends_when_it_is_let_go(keys: Path, mailbox: SecretPage) -> None:
    """Closing the connection ends the courier, closing the zygote's ends the zygote, and leaves no zombie."""
    before = children(os.getpid())
    with zygote(mailbox, parse_key_uri(f"file:{keys / 'agent'}")) as made:
        pid = made.pid
        messenger = made.courier()
        wait_until(lambda: len(children(pid)) == 1)
        messenger.close()
        wait_until(lambda: not children(pid))
    assert set(children(os.getpid())) == set(before)
    made.close()


def test_a_courier_killed_before_it_read_the_question() -> None:
    """The system says "reset" then: it is the same end without an answer."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.send(b"a question")
        theirs.close()
        with pytest.raises(Unavailable, match="without an answer"):
            courier_messages.receive(ours)


def test_a_courier_killed_in_flight_is_unavailable(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a courier without an answer is an answer: not there, try again; a new courier can be had."""

    def hang(context: Context, into: memoryview) -> NoReturn:
        del context, into
        while True:
            signal.pause()

    with backend(monkeypatch, hang), zygote(mailbox) as made:
        pid = made.pid
        with fork_courier(made) as messenger:
            messenger.ask_issue(CONTEXT)
            wait_until(lambda: len(children(pid)) == 1)
            assert not select.select([messenger], [], [], 0.05)[0]
            os.kill(children(pid)[0], signal.SIGKILL)
            with pytest.raises(Unavailable, match="without an answer"):
                messenger.take_issued()
            with pytest.raises(Unavailable):
                messenger.ask_issue(CONTEXT)
        with fork_courier(made) as again:
            again.ask_issue(CONTEXT)
            wait_until(lambda: len(children(pid)) == 1)


def test_a_hanging_backend_is_ended_by_the_alarm(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library that never returns, and catches everything, is ended after the time that a call may take."""

    def stubborn(context: Context, into: memoryview) -> NoReturn:
        del context, into
        while True:
            try:
                time.sleep(60)
            except BaseException:  # noqa: BLE001, S112  # as bad as a library can be
                continue

    monkeypatch.setattr(courier_process, "CALL_SECONDS", 1)
    with backend(monkeypatch, stubborn), zygote(mailbox) as made, fork_courier(made) as messenger:
        started = time.monotonic()
        messenger.ask_issue(CONTEXT)
        with pytest.raises(Unavailable, match="without an answer"):
            messenger.take_issued()
        assert 0.5 < time.monotonic() - started < 10


@pytest.mark.parametrize(
    "error",
    [
        Unavailable("down", "wait"),
        Denied("no", "ask for the permission"),
        WrongKey("other"),
        BackendError("bad", None),
        ConfigError("wrong folder", "make it"),
        FormatError("not so"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_our_errors_arrive_as_they_are(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch, error: EpochsealError
) -> None:
    """An error of ours has the same class, message and hint on the agent's side."""

    def refuse(context: Context, into: memoryview) -> NoReturn:
        del context, into
        raise error

    with backend(monkeypatch, refuse), zygote(mailbox) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        with pytest.raises(type(error)) as caught:
            messenger.take_issued()
    assert type(caught.value) is type(error)
    assert (str(caught.value), caught.value.hint) == (str(error), error.hint)


class ThrottledError(Unavailable):
    """A backend's own kind of unavailable."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [(ThrottledError("slow down"), Unavailable), (StorageError("disk", "free space"), BackendError)],
)
def test_other_errors_of_ours_arrive_as_the_nearest(
    mailbox: SecretPage,
    monkeypatch: pytest.MonkeyPatch,
    error: EpochsealError,
    expected: type[EpochsealError],
) -> None:
    """A subclass is its parent on the agent's side, and any other error of ours a backend error."""

    def refuse(context: Context, into: memoryview) -> NoReturn:
        del context, into
        raise error

    with backend(monkeypatch, refuse), zygote(mailbox) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        with pytest.raises(expected, match=str(error)) as caught:
            messenger.take_issued()
    assert type(caught.value) is expected


def test_any_other_exception_is_a_backend_error_without_its_text(
    mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library throws is told by type and place; its text may quote a credential, and stays behind."""

    def fail(context: Context, into: memoryview) -> NoReturn:
        del context, into
        raise ZeroDivisionError("token hvs.CAESIJ and key 00112233")

    with backend(monkeypatch, fail), zygote(mailbox) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        with pytest.raises(
            BackendError, match=r"failed with ZeroDivisionError at test_courier\.py:\d+"
        ) as caught:
            messenger.take_issued()
        assert type(caught.value) is BackendError
        assert "hvs" not in f"{caught.value} {caught.value.hint}"
        # The courier is still there, and takes the next call.
        messenger.ask_issue(CONTEXT)
        with pytest.raises(BackendError, match="ZeroDivisionError"):
            messenger.take_issued()


def test_very_long_messages_arrive_shortened(mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message or hint that no datagram would hold is cut, and still an error of its class."""

    def fail(context: Context, into: memoryview) -> NoReturn:
        del context, into
        raise Denied("m" * 1_000_000, "h" * 1_000_000)

    with backend(monkeypatch, fail), zygote(mailbox) as made, fork_courier(made) as messenger:
        messenger.ask_issue(CONTEXT)
        with pytest.raises(Denied, match=r"^m{4096}$") as caught:
            messenger.take_issued()
    assert caught.value.hint == "h" * 4096


def test_a_backend_that_exits_is_unavailable(mailbox: SecretPage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that ends its process ends a courier, not the zygote."""

    def leave(context: Context, into: memoryview) -> NoReturn:
        del context, into
        sys.exit(3)

    with backend(monkeypatch, leave), zygote(mailbox) as made:
        for _ in range(2):
            with fork_courier(made) as messenger:
                messenger.ask_issue(CONTEXT)
                with pytest.raises(Unavailable, match="without an answer"):
                    messenger.take_issued()


def test_a_backend_that_cannot_be_loaded_is_an_error_of_the_start(mailbox: SecretPage) -> None:
    """An unknown scheme is told by the start itself, and no process is left behind."""
    before = children(os.getpid())
    with pytest.raises(ConfigError, match="unknown key scheme 'nosuch'"):
        Zygote.start(parse_key_uri("nosuch:key"), URI, {}, mailbox)
    assert children(os.getpid()) == before


def test_without_a_zygote_calls_are_unavailable(mailbox: SecretPage) -> None:
    """When the zygote was killed, a courier is not to be had: unavailable, not a crash."""
    with zygote(mailbox) as made:
        pid = made.pid
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z")
        with pytest.raises(Unavailable, match="is gone"):
            made.courier()


AGENT = """
    import os, sys, time
    from epochseal.custody.zygote import Zygote
    from epochseal.keys import Context, parse_key_uri
    from epochseal.custody.memory import SecretPage, harden_process
    harden_process()
    mailbox = SecretPage()
    uri = parse_key_uri("file:" + sys.argv[1])
    zygote = Zygote.start(uri, uri, {}, mailbox)
    courier = zygote.courier()
    courier.ask_issue(Context("example.com/t", bytes(32), 0, bytes(32)))
    courier.take_issued()
    print(any(mailbox.view[:32]), any(name.startswith("epochseal_backends") for name in sys.modules))
    me = os.getpid()
    (child,) = open(f"/proc/{me}/task/{me}/children").read().split()
    grandchildren = open(f"/proc/{child}/task/{child}/children").read().split()
    print(child, *grandchildren, flush=True)
    time.sleep(60)
"""


def test_only_the_children_import_the_backend_and_they_die_with_the_agent(keys: Path) -> None:
    """The agent has the secret but never the backend's module; kill -9 of it ends zygote and courier too."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(AGENT), str(keys / "agent")], stdout=subprocess.PIPE, text=True
    ) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline().split() == ["True", "False"]
        pids = [int(pid) for pid in agent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        agent.kill()
    wait_until(lambda: not any(_alive(pid) for pid in pids))


def _alive(pid: int) -> bool:
    try:
        # A zombie that nobody reaps (its new parent may be a container's first process) is dead.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_the_helpers_of_two_logs_see_nothing_of_each_other() -> None:
    """A later zygote has neither the mailbox nor the control socket of an earlier one."""
    # Of tests before this one, the backends' libraries have connections that are still open.
    before = set(_sockets(os.getpid()))
    with SecretPage() as first, SecretPage() as second, zygote(first), zygote(second) as later:
        maps = Path(f"/proc/{later.pid}/maps").read_text()
        assert _permissions(maps, second) == "rw-s"
        assert _permissions(maps, first) == "---p"
        assert len([name for name in _sockets(later.pid) if name not in before]) == 1


def _sockets(pid: int) -> list[str]:
    links = []
    for item in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # what this very look had open
            links.append(str(item.readlink()))
    return [name for name in links if name.startswith("socket:")]


def _permissions(maps: str, page: SecretPage) -> str:
    """How a process maps the address at which this one has the page."""
    address = ctypes.addressof(ctypes.c_char.from_buffer(page.view))
    for line in maps.splitlines():
        start, stop = (int(text, 16) for text in line.split()[0].split("-"))
        if start <= address < stop:
            return line.split()[1]
    return "none"
