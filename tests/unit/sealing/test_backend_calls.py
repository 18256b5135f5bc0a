from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from epochseal.encoding import b64encode
from epochseal.errors import BackendError, CredentialRefused, Denied, Unavailable
from epochseal.format.seal_lines import Abandoned, Asked
from epochseal.keys import Context, Issued, PublicKey, parse_key_uri
from epochseal.sealing.backend_calls import FIRST_DELAY, LONGEST_DELAY, BackendCalls, Kind
from epochseal.sealing.login_gate import LoginGates

AWAY = parse_key_uri("openbao://transit/epoch")
ISSUED = Issued("file:ab", b"wrapped")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> int:
        """Wall clock in ms."""
        return int(self.seconds * 1000)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds


class FakeCourier:
    """Answers as a test wants; there is no process behind it."""

    def __init__(self, hub: FakeZygote) -> None:
        self.hub = hub
        self.closed = False

    def fileno(self) -> int:
        """Any number."""
        return 77

    def ask_issue(self, context: Context) -> None:
        """Note the context."""
        self.hub.raise_if("ask")
        self.hub.contexts.append(context)

    def take_issued(self) -> Issued:
        """The answer, or the error that a test set."""
        self.hub.raise_if("issue")
        return ISSUED

    def ask_signature(self, message: bytes) -> None:
        """Note the message."""
        self.hub.raise_if("ask")
        self.hub.messages.append(message)

    def take_signature(self) -> bytes:
        """The answer, or the error that a test set."""
        self.hub.raise_if("sign")
        return b"signature"

    def ask_key(self) -> None:
        """Nothing to note."""
        self.hub.raise_if("ask")

    def take_key(self) -> PublicKey:
        """The answer, or the error that a test set."""
        self.hub.raise_if("key")
        return PublicKey("ed25519", bytes(32))

    def close(self) -> None:
        """Note it."""
        self.closed = True


class FakeZygote:
    """Hands out couriers, and says which call is to fail."""

    def __init__(self) -> None:
        self.errors: dict[str, BackendError] = {}
        self.couriers: list[FakeCourier] = []
        self.contexts: list[Context] = []
        self.messages: list[bytes] = []
        self.ended = 0

    def end_courier(self) -> None:
        """The last one is ended, whatever it is at."""
        self.ended += 1

    def courier(self) -> FakeCourier:
        """One more."""
        self.raise_if("fork")
        self.couriers.append(FakeCourier(self))
        return self.couriers[-1]

    def raise_if(self, kind: str) -> None:
        """Raise what a test set for this kind of call."""
        if kind in self.errors:
            raise self.errors[kind]


@pytest.fixture
def hub() -> FakeZygote:
    """A zygote without processes."""
    return FakeZygote()


@pytest.fixture
def clock() -> Clock:
    """A clock that stands."""
    return Clock()


@pytest.fixture
def calls(hub: FakeZygote, clock: Clock) -> BackendCalls:
    """Calls whose jitter is always the largest."""
    return BackendCalls(hub, clock, lambda: 1.0)  # type: ignore[arg-type]  # it has the methods that are used


def state(calls: BackendCalls) -> tuple[str | None, int | None]:
    """The kind of the call under way, and where its answer will be."""
    return calls.pending, calls.fileno()


def context(number: int = 0) -> tuple[Context, Asked]:
    """A context and the line that it quotes; another number is another line."""
    tag = bytes([number]) * 32
    return Context("example.com/c", bytes(32), 1, tag), Asked(number, b64encode(tag))


def fail_issue(calls: BackendCalls, hub: FakeZygote, clock: Clock, number: int = 0) -> None:
    """An issue call that finds the backend unavailable."""
    clock.seconds = max(clock.seconds, calls.retry_at("issue"))
    hub.errors["issue"] = Unavailable("down")
    assert calls.may_start("issue")
    calls.start_issue(*context(number))
    assert state(calls)[0] == "issue"
    assert calls.take_issued() is None
    del hub.errors["issue"]


def test_one_call_at_a_time_through_one_courier(calls: BackendCalls, hub: FakeZygote) -> None:
    """While a call is under way no other may start; one courier makes them all, until it is let go."""
    assert state(calls) == (None, None)
    calls.start_issue(*context())
    assert state(calls) == ("issue", 77)
    assert not calls.may_start("issue")
    assert not calls.may_start("sign")
    assert calls.take_issued() == ISSUED
    assert state(calls) == (None, None)
    calls.start_key()
    assert calls.take_key() == PublicKey("ed25519", bytes(32))
    calls.start_sign(b"text")
    assert calls.take_signature() == b"signature"
    assert hub.messages == [b"text"]
    assert [courier.closed for courier in hub.couriers] == [False]
    calls.let_go()
    assert [courier.closed for courier in hub.couriers] == [True]
    assert calls.made == {"issue": 1, "sign": 1, "key": 1}


def test_the_delay_grows_to_a_limit_and_ends_with_a_success(
    calls: BackendCalls, hub: FakeZygote, clock: Clock
) -> None:
    """Each failure doubles the delay up to the longest; the first answer ends it."""
    delays = []
    for _ in range(12):
        fail_issue(calls, hub, clock)
        delays.append(calls.retry_at("issue") - clock.seconds)
        assert not calls.may_start("issue")
    assert delays == pytest.approx([min(FIRST_DELAY * 2**power, LONGEST_DELAY) for power in range(12)])
    assert calls.issue_failures == calls.failures == 12
    assert str(calls.last_error) == "down"
    clock.seconds = calls.retry_at("issue")
    calls.start_issue(*context())
    calls.take_issued()
    assert calls.failures == 0
    assert calls.last_error is None
    assert calls.may_start("issue")


def test_jitter_is_half_of_the_delay(hub: FakeZygote, clock: Clock) -> None:
    """With the smallest jitter the delay is half of what it is with the largest."""
    calls = BackendCalls(hub, clock, lambda: 0.0)  # type: ignore[arg-type]  # as in the fixture
    fail_issue(calls, hub, clock)
    assert calls.retry_at("issue") - clock.seconds == pytest.approx(FIRST_DELAY / 2)


def test_the_two_keys_wait_apart(calls: BackendCalls, hub: FakeZygote, clock: Clock) -> None:
    """A checkpoint key that is down delays no epoch secret, and does not count as a failed issue."""
    hub.errors["sign"] = Unavailable("down")
    calls.start_sign(b"text")
    assert calls.take_signature() is None
    assert not calls.may_start("sign")
    assert not calls.may_start("key")
    assert calls.may_start("issue")
    assert (calls.failures, calls.issue_failures) == (1, 0)
    calls.start_issue(*context())
    assert calls.take_issued() == ISSUED
    assert not calls.may_start("sign")
    fail_issue(calls, hub, clock)
    clock.seconds += LONGEST_DELAY
    assert calls.may_start("sign")


def test_unanswered_issue_calls_are_counted_by_what_they_quoted(
    calls: BackendCalls, hub: FakeZygote, clock: Clock
) -> None:
    """Each context that failed stands in `abandoned` once, with its number of calls, until one is adopted."""
    for number in (1, 1, 2, 1):
        fail_issue(calls, hub, clock, number)
    assert calls.abandoned == [Abandoned(1, context(1)[1].tag, 3), Abandoned(2, context(2)[1].tag, 1)]
    clock.seconds = calls.retry_at("issue")
    calls.start_issue(*context(3))
    calls.take_issued()
    assert (calls.context, calls.asked) == context(3)
    # The call whose secret came counts until an epoch line adopts it: a secret that waits may be given up.
    before = (Abandoned(1, context(1)[1].tag, 3), Abandoned(2, context(2)[1].tag, 1))
    assert calls.abandoned == [*before, Abandoned(3, context(3)[1].tag, 1)]
    assert calls.adopted(context(3)[1]) == before
    assert calls.abandoned == []
    assert calls.context is None


def test_after_many_contexts_the_last_is_asked_for_again(
    calls: BackendCalls, hub: FakeZygote, clock: Clock
) -> None:
    """The list of abandoned calls, and so the epoch line, has a limit: no seventeenth context is quoted."""
    for number in range(40):
        fail_issue(calls, hub, clock, number)
    assert [item.line for item in calls.abandoned] == list(range(16))
    assert calls.abandoned[-1].calls == 25
    assert {item.prev for item in hub.contexts[15:]} == {context(15)[0].prev}


def test_the_list_of_an_earlier_process_is_gone_on_with(
    calls: BackendCalls, hub: FakeZygote, clock: Clock
) -> None:
    """A full one gets no other context, however often an agent starts; but a cold epoch's call is its own."""
    calls.abandoned = [Abandoned(number, context(number)[1].tag, 1) for number in range(16)]
    fail_issue(calls, hub, clock, 99)
    assert (len(calls.abandoned), calls.abandoned[-1].calls) == (16, 2)
    assert hub.contexts[-1] == context(15)[0]
    clock.seconds = calls.retry_at("issue")
    hub.errors = {}
    calls.start_issue(*context(99), again=False)
    assert (calls.context, calls.asked) == context(99)


def test_a_call_that_was_never_sent_is_not_abandoned(calls: BackendCalls, hub: FakeZygote) -> None:
    """Without a courier, or with one that is gone, the call counts as failed, but not as perhaps served."""
    for kind in ("fork", "ask"):
        hub.errors = {kind: Unavailable("gone")}
        calls.start_issue(*context())
        assert calls.pending is None
    assert calls.issue_failures == 2
    assert calls.abandoned == []


def test_a_call_that_is_let_go_is_abandoned(calls: BackendCalls) -> None:
    """An issue call whose answer nobody waits for may have been served."""
    calls.start_issue(*context(5))
    calls.let_go()
    assert [item.line for item in calls.abandoned] == [5]
    assert state(calls) == (None, None)
    calls.let_go()
    assert len(calls.abandoned) == 1


takes: list[tuple[Kind, Callable[[BackendCalls], object], Callable[[BackendCalls], object]]] = [
    ("issue", lambda calls: calls.start_issue(*context()), lambda calls: calls.take_issued()),
    ("sign", lambda calls: calls.start_sign(b"m"), lambda calls: calls.take_signature()),
    ("key", lambda calls: calls.start_key(), lambda calls: calls.take_key()),
]


@pytest.mark.parametrize(("kind", "start", "take"), takes, ids=[kind for kind, _, _ in takes])
def test_a_refusal_is_raised_and_ends_the_call(
    calls: BackendCalls,
    hub: FakeZygote,
    kind: str,
    start: Callable[[BackendCalls], object],
    take: Callable[[BackendCalls], object],
) -> None:
    """What waiting does not mend is raised, and nothing is pending after it that somebody could wait for."""
    hub.errors[kind] = Denied("no")
    start(calls)
    with pytest.raises(Denied):
        take(calls)
    assert calls.pending is None
    assert calls.fileno() is None
    assert hub.couriers[-1].closed
    assert len(calls.abandoned) == (kind == "issue")


@pytest.mark.parametrize(("kind", "start", "take"), takes, ids=[kind for kind, _, _ in takes])
def test_a_refusal_is_waited_out_by_a_log_that_is_live(
    calls: BackendCalls,
    hub: FakeZygote,
    clock: Clock,
    kind: Kind,
    start: Callable[[BackendCalls], object],
    take: Callable[[BackendCalls], object],
) -> None:
    """It is asked again after a minute, then four times an hour: no credential is locked by us."""
    calls.patient = True
    delays = []
    for _ in range(7):
        hub.errors[kind] = Denied("no")
        start(calls)
        assert take(calls) is None
        assert calls.pending is None
        delays.append(calls.retry_at(kind) - clock.seconds)
        clock.seconds = calls.retry_at(kind)
    assert delays == pytest.approx([75, *[1125] * 6])
    assert str(calls.trouble) == "no"
    hub.errors.clear()
    start(calls)
    assert take(calls) is not None
    assert calls.trouble is None
    assert calls.may_start(kind)


@pytest.mark.parametrize("logs", [1, 10])
def test_a_wrong_credential_is_given_three_times_an_hour(hub: FakeZygote, clock: Clock, logs: int) -> None:
    """By all logs of a process together, at the shortest delays; and once within a server's 15 minutes."""
    gates = LoginGates(clock.monotonic, lambda: 0.0)
    shared = gates.of_both(AWAY, AWAY, {"vault": {"role_id": "agent"}})
    agents = [BackendCalls(hub, clock, lambda: 0.0, shared) for _ in range(logs)]  # type: ignore[arg-type]  # as above
    began, tries = clock.seconds, []
    while clock.seconds - began < 3600:
        for calls in agents:
            calls.patient = True
            if calls.may_start("issue"):
                hub.errors["issue"] = CredentialRefused("no")
                calls.start_issue(*context())
                assert calls.take_issued() is None
                tries.append(clock.seconds - began)
        clock.seconds += 1
    assert tries == [0, 1200, 2400]
    assert agents[-1].refusal("sign") is None
    clock.seconds = began + 3000
    assert str(agents[-1].refusal("sign")) == "no"


def test_the_first_log_tries_for_all(hub: FakeZygote, clock: Clock) -> None:
    """While nobody knows whether the credential is good, one log asks, and the others wait for it."""
    gates = LoginGates(clock.monotonic, lambda: 0.0)
    shared = gates.of_both(AWAY, AWAY, {"vault": {"role_id": "agent"}})
    one, two = (BackendCalls(hub, clock, lambda: 0.0, shared) for _ in range(2))  # type: ignore[arg-type]  # as above
    assert one.may_start("key")
    one.start_key()
    assert not two.may_start("key")
    assert two.retry_at("key") == pytest.approx(clock.seconds + 0.25)
    assert one.take_key() is not None
    assert two.may_start("key")
    assert one.may_start("issue")


def test_a_call_that_is_let_go_lets_the_others_in(hub: FakeZygote, clock: Clock) -> None:
    """An outage shows nothing of the credential, and a log that closes leaves the gate."""
    shared = LoginGates(clock.monotonic, lambda: 0.0).of_both(AWAY, AWAY, {})
    one, two = (BackendCalls(hub, clock, lambda: 0.0, shared) for _ in range(2))  # type: ignore[arg-type]  # as above
    hub.errors["key"] = Unavailable("away")
    assert one.may_start("key")
    one.start_key()
    assert one.take_key() is None
    assert two.may_start("key")
    hub.errors.clear()
    two.start_key()
    two.let_go()
    clock.seconds += 60
    assert one.may_start("key")


def test_a_mended_file_is_tried_soon(hub: FakeZygote, clock: Clock, tmp_path: Path) -> None:
    """A credential whose file was changed is tried a minute behind the refusal, and then used by all."""
    file = tmp_path / "secret-id"
    file.write_text("wrong")
    settings = {"vault": {"secret_id_file": str(file)}}
    shared = LoginGates(clock.monotonic, lambda: 0.0).of_both(AWAY, AWAY, settings)
    calls = BackendCalls(hub, clock, lambda: 0.0, shared)  # type: ignore[arg-type]  # as above
    calls.patient = True
    hub.errors["issue"] = CredentialRefused("no")
    assert calls.may_start("issue")
    calls.start_issue(*context())
    assert calls.take_issued() is None
    hub.errors.clear()
    clock.seconds += 61
    assert not calls.may_start("issue")
    file.write_text("right")
    assert calls.may_start("issue")
    calls.start_issue(*context())
    assert calls.take_issued() is not None
    assert calls.trouble is None


def test_an_outage_behind_a_refusal_begins_with_short_delays(
    calls: BackendCalls, hub: FakeZygote, clock: Clock
) -> None:
    """And the other way round: the one says nothing about how long the other lasts."""
    calls.patient = True
    delays = []
    for error in (Unavailable("down"), Unavailable("down"), Denied("no"), Unavailable("down")):
        hub.errors["sign"] = error
        calls.start_sign(b"text")
        calls.take_signature()
        delays.append(calls.retry_at("sign") - clock.seconds)
        clock.seconds = calls.retry_at("sign")
    assert delays == pytest.approx([FIRST_DELAY, 2 * FIRST_DELAY, 75, FIRST_DELAY])


def test_a_call_is_counted_and_told_of_before_it_is_sent(calls: BackendCalls, hub: FakeZygote) -> None:
    """A kill behind the sending leaves a call that the service shows: the page has it by then."""
    told: list[tuple[int, int]] = []
    calls.about_to_ask = lambda: told.append((len(calls.abandoned), len(hub.contexts)))
    calls.start_issue(*context(1))
    assert told == [(1, 0)]
    calls.take_issued()
    assert len(calls.abandoned) == 1


def test_an_answer_that_was_not_asked_for(calls: BackendCalls) -> None:
    """Taking an answer where no call is under way is an error, not a wait."""
    with pytest.raises(BackendError, match="nothing had been asked"):
        calls.take_signature()
