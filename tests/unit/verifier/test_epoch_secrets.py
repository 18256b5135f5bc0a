"""Secrets are fetched ahead of the checking: how many calls that takes, and whose error is whose."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from epochseal.encoding import b64encode
from epochseal.errors import BackendError, CredentialRefused, Denied, Unavailable, WrongKey
from epochseal.format.seal_lines import Asked, Header, Tree
from epochseal.keys import SECRET_SIZE, WrappedSecret, put_secret
from epochseal.verifier.epoch_secrets import FETCHED, EpochSecrets, NoKeyError


def header(epoch: int, key: str = "a:1", wrapped: str = "AAAA") -> Header:
    """The header of an epoch whose secret is its number."""
    zeros = b64encode(bytes(32))
    return Header(
        epoch=epoch,
        origin="example.com/ahead",
        log=zeros,
        segment=1,
        link="carry",
        key=key,
        wrapped=wrapped,
        carry="",
        asked=Asked(0, zeros),
        prev=zeros,
        tree=Tree(0, []),
        first_entry=0,
        heartbeat=1,
        interval=1,
        max_overdue=1,
        retention=0,
        abandoned=[],
        time=0,
    )


class Backend:
    """Recovers the number of the epoch; counts calls and secrets, and fails as it is told."""

    def __init__(self, prefix: str = "a:", errors: dict[int, BackendError] | None = None) -> None:
        self.prefix, self.errors = prefix, errors or {}
        self.calls: list[list[int]] = []
        self.down: BackendError | None = None

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        """One call."""
        epochs = [item.context.epoch for item in asked]
        self.calls.append(epochs)
        if self.down is not None:
            raise self.down
        for place, epoch in enumerate(epochs):
            if epoch not in self.errors:
                put_secret(epoch.to_bytes(SECRET_SIZE), into, place)
        return [self.errors.get(epoch) for epoch in epochs]

    def recognizes(self, key_id: str) -> bool:
        """By its beginning."""
        return key_id.startswith(self.prefix)


def take(secrets: EpochSecrets, item: Header) -> int:
    """The secret as a number."""
    into = bytearray(SECRET_SIZE)
    assert secrets.take(item, memoryview(into)).epoch == item.epoch
    return int.from_bytes(into)


def test_a_call_for_many() -> None:
    """A thousand epochs are ten calls; each gets its own secret, and none is asked for twice."""
    backend, log = Backend(), [header(number) for number in range(10 * FETCHED)]
    secrets = EpochSecrets(backend)
    secrets.expect(log)
    assert [take(secrets, item) for item in log] == list(range(len(log)))
    assert [len(call) for call in backend.calls] == [FETCHED] * 10


def test_alternating_keys_cost_no_more() -> None:
    """A log whose lines name two keys in turn has each secret fetched once."""
    one, two = Backend("a:"), Backend("b:")
    log = [header(number, "ab"[number % 2] + ":1") for number in range(3 * FETCHED)]
    secrets = EpochSecrets([one, two])
    secrets.expect(log)
    assert [take(secrets, item) for item in log] == list(range(len(log)))
    assert [len(call) for call in one.calls] == [len(call) for call in two.calls] == [FETCHED // 2] * 3


def test_equal_lines_are_two_epochs() -> None:
    """A copied epoch line has a secret too: it is the same one."""
    log = [header(1), header(1), header(2)]
    secrets = EpochSecrets(Backend())
    secrets.expect(log)
    assert [take(secrets, item) for item in log] == [1, 1, 2]


def test_epochs_that_are_left_out() -> None:
    """What was fetched and is not asked for is forgotten, and the rest goes on in batches."""
    backend, log = Backend(), [header(number) for number in range(5 * FETCHED)]
    secrets = EpochSecrets(backend)
    secrets.expect(log)
    wanted = log[:10] + log[FETCHED + 50 : 3 * FETCHED]
    assert [take(secrets, item) for item in wanted] == [item.epoch for item in wanted]
    assert [len(call) for call in backend.calls] == [FETCHED, FETCHED, FETCHED]


def test_one_that_nobody_expected() -> None:
    """It is recovered by itself."""
    backend = Backend()
    secrets = EpochSecrets(backend)
    secrets.expect([header(1)])
    assert take(secrets, header(7)) == 7
    assert backend.calls == [[7]]


def test_an_error_is_its_own_epochs() -> None:
    """A wrong secret is a finding, a refused one ends it with its number, and the others are good."""
    log = [header(number) for number in range(6)]
    secrets = EpochSecrets(Backend(errors={2: WrongKey("not of this log"), 4: Denied("too old", "lower it")}))
    secrets.expect(log)
    assert [take(secrets, item) for item in log[:2]] == [0, 1]
    with pytest.raises(NoKeyError, match=r"^epoch 2: not of this log$") as wrong:
        take(secrets, log[2])
    assert wrong.value.kind == "key_refused"
    assert take(secrets, log[3]) == 3
    with pytest.raises(Denied, match=r"^epoch 4: too old$") as refused:
        take(secrets, log[4])
    assert refused.value.hint == "lower it"
    assert not isinstance(refused.value, CredentialRefused)
    assert take(secrets, log[5]) == 5


def test_a_line_that_says_nonsense() -> None:
    """Bytes that no backend is asked about are that epoch's finding, and hold up no other."""
    backend, log = Backend(), [header(0), header(1, wrapped="!"), header(2)]
    secrets = EpochSecrets(backend)
    secrets.expect(log)
    assert take(secrets, log[0]) == 0
    with pytest.raises(NoKeyError, match="epoch 1: "):
        take(secrets, log[1])
    assert take(secrets, log[2]) == 2
    assert backend.calls == [[0, 2]]


def test_a_key_that_was_not_named() -> None:
    """No backend is asked for it."""
    backend = Backend()
    secrets = EpochSecrets(backend)
    with pytest.raises(NoKeyError) as caught:
        take(secrets, header(1, "z:1"))
    assert (caught.value.kind, backend.calls) == ("unknown_key", [])


@pytest.mark.parametrize("error", [Unavailable("away"), CredentialRefused("expired")])
def test_no_answer_at_all(error: BackendError) -> None:
    """One call is made, and its error is raised as it is, with the epoch that it was for."""
    backend, log = Backend(), [header(number) for number in range(5)]
    backend.down = error
    secrets = EpochSecrets(backend)
    secrets.expect(log)
    with pytest.raises(type(error), match=r"^epoch 0: "):
        take(secrets, log[0])
    assert len(backend.calls) == 1
