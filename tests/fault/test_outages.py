"""A backend that is away: sealing goes on, stops at `max_overdue`, says so, and comes back by itself."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.custody.courier import Courier
from epochseal.custody.memory import SecretPage
from epochseal.custody.zygote import Zygote
from epochseal.errors import BackendError, EpochsealError, Unavailable
from epochseal.keys import Issued, parse_key_uri
from epochseal.sealing.backend_outage import Outlook
from epochseal.sealing.chain import Pace
from epochseal.sealing.due_times import PATIENCE
from epochseal.sealing.epoch_turns import LONGEST_WAIT
from epochseal.sealing.limits import NO_ROOM, Limits
from epochseal_backends.file import backend as file
from tests.fault.story import Host, Story

INTERVAL, MAX_OVERDUE = Pace().interval, Pace().max_overdue


class LosingCourier(Courier):
    """Makes the call, and loses the answer on the way back."""

    def take_issued(self) -> Issued:
        """A secret was issued, and nobody hears of it."""
        super().take_issued()
        raise Unavailable("the connection was cut in mid-answer")


class SilentCourier(Courier):
    """Never has a signature asked for, as if somebody on the way kept the answer back."""

    def ask_signature(self, message: bytes) -> None:
        """Nothing arrives where it is sent to."""


class LyingCourier(Courier):
    """Hands over another signature than the key's."""

    def take_signature(self) -> bytes:
        """64 bytes, and no signature."""
        super().take_signature()
        return bytes(64)


class Network(Zygote):
    """The way to a real backend, which a test takes away or leads past somebody."""

    down = False
    way: type[Courier] | None = None
    couriers = 0

    def courier(self) -> Courier:
        """A courier, if the network is there."""
        if self.down:
            raise Unavailable("connection refused")
        self.couriers += 1
        courier = super().courier()
        if self.way is not None:
            courier.__class__ = self.way
        return courier


@pytest.fixture
def network(tmp_path: Path) -> Iterator[tuple[Network, Host]]:
    """Keys in files, and a way to them."""
    file.generate(tmp_path / "keys")
    uri = parse_key_uri(f"file:{tmp_path / 'keys' / 'agent'}")
    with SecretPage() as mailbox:
        zygote = Network.start(uri, uri, {}, mailbox)
        assert isinstance(zygote, Network)
        yield zygote, Host(tmp_path / "keys", zygote, mailbox)
        zygote.close()


def _listen(story: Story) -> list[tuple[Outlook, str]]:
    told: list[tuple[Outlook, str]] = []

    def tell(outlook: Outlook, trouble: EpochsealError | None) -> None:
        told.append((outlook, str(trouble)))

    story.running.outage.tell = tell
    return told


def _close(story: Story, host: Host) -> None:
    sealer = story.running
    sealer.close_log()
    story.pump()
    sealer.release()
    verdict = host.verify(story.logdir, story.clock.now)
    assert (verdict.verdict, verdict.problems) == ("verified", [])
    assert verdict.entries == len(story.acknowledged) == len(story.sent)
    assert verdict.signed_entries == verdict.entries


def test_calls_of_an_epoch(network: tuple[Network, Host], directory: Path) -> None:
    """Over 20 epochs: one issue and one signature each, by one courier each; one public key at the start."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    sealer = story.running
    for _ in range(19):
        story.commit(3, 2)
        story.clock.elapsed += INTERVAL
        story.pump()
    assert sealer.counters.epochs == 20
    assert sealer.calls.made == {"issue": 20, "sign": 20, "key": 1}
    assert sealer.calls.failed == {"issue": 0, "sign": 0, "key": 0}
    assert zygote.couriers == 20
    assert sealer.calls.fileno() is None
    _close(story, host)
    assert sealer.calls.made == {"issue": 20, "sign": 21, "key": 1}


def test_a_segment_costs_no_signature_more(network: tuple[Network, Host], directory: Path) -> None:
    """Its end is vouched for by the next signature, as that of any other epoch."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    story.commit(1)
    story.running.request_next_epoch("segment")
    story.pump()
    assert story.running.calls.made == {"issue": 2, "sign": 2, "key": 1}
    assert zygote.couriers == 2
    _close(story, host)


def test_an_outage_delays_no_entry(network: tuple[Network, Host], directory: Path) -> None:
    """30 seconds without a backend: entries are sealed in the old epoch, which turns once it is back."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    told = _listen(story)
    story.commit(5)
    zygote.down = True
    story.clock.elapsed += INTERVAL
    for _ in range(30):
        story.running.tick()
        assert story.running.turns.room().entries > 0
        story.commit(2)
        story.clock.elapsed += 1000
    sealer = story.running
    assert 29 < sealer.turns.overdue_seconds < 32
    assert (sealer.status().live, sealer.status().late, sealer.counters.epochs) == (True, False, 1)
    assert told == [("down", "connection refused")]
    # With a delay that doubles from a quarter of a second, half a minute is a handful of calls.
    assert sealer.calls.made["issue"] < 12
    zygote.down = False
    story.clock.elapsed += 30_000
    story.pump()
    assert (sealer.counters.epochs, sealer.turns.overdue_seconds) == (2, 0.0)
    assert [outlook for outlook, _ in told] == ["down", "up"]
    story.commit(1)
    _close(story, host)


def test_a_backend_that_does_not_answer(network: tuple[Network, Host], directory: Path) -> None:
    """A full epoch waits for the answer to its call, but not for long: then it runs past its limit."""
    _, host = network
    story = Story(host, directory / "log", None, limits=Limits(epoch_entries=5))
    story.start()
    sealer = story.running
    story.commit(5)
    sealer.tick()
    assert sealer.calls.pending == "issue"
    assert sealer.turns.room() == NO_ROOM
    # It is woken when its patience ends, though nothing else happens.
    story.clock.elapsed += int(sealer.wait_seconds() * 1000) + 1
    sealer.tick()
    assert sealer.turns.room().entries > 0
    assert PATIENCE < sealer.turns.overdue_seconds < PATIENCE + 0.1
    assert (sealer.calls.pending, sealer.calls.failures) == ("issue", 0)
    story.commit(3)
    assert sealer.wait_seconds() > 1
    story.pump()
    assert (sealer.counters.epochs, sealer.turns.overdue_seconds) == (2, 0.0)
    assert sealer.turns.room().entries == 5
    _close(story, host)


def test_beyond_max_overdue_nothing_is_taken(network: tuple[Network, Host], directory: Path) -> None:
    """An epoch that may run no longer takes no entry, says why, and goes on once there is a key."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    told = _listen(story)
    story.commit(5)
    zygote.down = True
    story.clock.elapsed += INTERVAL
    story.running.tick()
    story.clock.elapsed += MAX_OVERDUE + 1000
    story.running.tick()
    assert story.running.turns.room() == NO_ROOM
    assert story.running.status().late
    assert told == [("down", "connection refused"), ("late", "connection refused")]
    zygote.down = False
    story.clock.elapsed += 30_000
    story.pump()
    assert story.running.turns.room().entries > 0
    assert [outlook for outlook, _ in told] == ["down", "late", "up"]
    story.commit(4)
    _close(story, host)


def test_a_start_waits_for_the_backend(network: tuple[Network, Host], directory: Path) -> None:
    """Without a backend nothing is accepted or written; it says so, and begins when the backend is there."""
    zygote, host = network
    zygote.down = True
    story = Story(host, directory / "log", None)
    with pytest.raises(AssertionError):  # Story asks for a log that takes entries
        story.start()
    told = _listen(story)
    sealer = story.running
    for _ in range(5):
        story.clock.elapsed += 60_000
        sealer.tick()
    assert (sealer.live, sealer.turns.room(), list((directory / "log").rglob("*.seal"))) == (
        False,
        NO_ROOM,
        [],
    )
    assert sealer.outage.outlook == "down"
    zygote.down = False
    story.clock.elapsed += 60_000
    story.pump()
    assert told[-1][0] == "up"
    story.commit(3)
    _close(story, host)


def test_lost_answers_are_accounted_for(network: tuple[Network, Host], directory: Path) -> None:
    """Secrets that were issued and never arrived stand in the next epoch's line, by what they quoted."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    story.commit(2)
    zygote.way = LosingCourier
    story.clock.elapsed += INTERVAL
    for count in (1, 1, 1):
        story.pump()
        assert not any(host.mailbox.view)
        story.commit(count)
        story.clock.elapsed += 60_000
    abandoned = list(story.running.calls.abandoned)
    assert sum(item.calls for item in abandoned) == 3
    assert len(abandoned) == 3
    zygote.way = None
    story.pump()
    assert story.running.counters.epochs == 2
    assert story.running.calls.abandoned == []
    (seal,) = (directory / "log").rglob("*.seal")
    second = seal.read_text(encoding="utf-8").split("\nepoch ")[1]
    for item in abandoned:
        assert item.tag in second
    _close(story, host)


def test_a_signature_that_is_kept_back(network: tuple[Network, Host], directory: Path) -> None:
    """The next epoch's secret does not wait for it for longer than a minute, and no entry waits at all."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    sealer = story.running
    story.commit(2)
    zygote.way = SilentCourier
    story.clock.elapsed += INTERVAL
    _take_secret(story)
    secret = sealer.turns._lines.page.secret  # noqa: SLF001  # where it waits beside the running epoch's key
    assert any(secret)
    assert not any(host.mailbox.view)
    story.clock.elapsed += int(LONGEST_WAIT * 1000) - 500
    story.commit(1)
    sealer.tick()
    assert any(secret)
    assert sealer.wait_seconds() <= 0.5
    story.clock.elapsed += 500
    sealer.tick()
    assert not any(secret)
    assert sealer.counters.abandoned_secrets == 1
    # The signature is still outstanding, so nothing else is asked for however long that lasts.
    story.clock.elapsed += 600_000
    story.commit(1)
    sealer.tick()
    assert sealer.calls.made == {"issue": 2, "sign": 2, "key": 1}
    zygote.way = None
    sealer.calls.let_go()
    story.pump()
    assert sealer.counters.epochs == 2
    assert sealer.calls.made == {"issue": 3, "sign": 4, "key": 1}
    assert sealer.calls.abandoned == []
    (seal,) = (directory / "log").rglob("*.seal")
    content = seal.read_bytes()
    assert content.count(b"\nsign ") == 2
    assert b'"calls":1}],' in content.split(b"\nepoch ")[1]
    story.commit(1)
    _close(story, host)


def test_a_signer_that_is_away_costs_no_secrets(network: tuple[Network, Host], directory: Path) -> None:
    """Hours without signatures cost the one secret that was announced."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    sealer = story.running
    story.commit(1)
    story.clock.elapsed += INTERVAL
    zygote.way = SilentCourier
    _take_secret(story)
    zygote.way = None
    zygote.down = True
    sealer.calls.let_go()
    for _ in range(30):
        story.clock.elapsed += 60_000
        sealer.tick()
        story.commit(1)
    assert sealer.calls.made["issue"] == 2
    zygote.down = False
    story.clock.elapsed += 30_000
    story.pump()
    assert (sealer.counters.epochs, sealer.calls.made["issue"]) == (2, 3)
    _close(story, host)


def test_a_signature_that_does_not_verify(network: tuple[Network, Host], directory: Path) -> None:
    """A running log takes entries on, uses nothing of it, and asks again in minutes; a start ends with it."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    sealer = story.running
    story.commit(2)
    before = (story.logdir / "checkpoint").read_bytes()
    zygote.way = LyingCourier
    story.clock.elapsed += INTERVAL
    sealer.tick()
    while (courier := sealer.calls.fileno()) is not None:
        assert select.select([courier], [], [], 10)[0]
        sealer.take_answer()
    for _ in range(25):
        story.clock.elapsed += 1000
        sealer.tick()
        story.commit(1)
    assert sealer.calls.made == {"issue": 2, "sign": 2, "key": 1}
    assert (story.logdir / "checkpoint").read_bytes() == before
    zygote.way = None
    story.clock.elapsed += 60_000
    story.pump()
    assert sealer.counters.epochs == 2
    _close(story, host)
    zygote.way = LyingCourier
    other = Story(host, directory / "other", None)
    with pytest.raises(BackendError, match="does not verify"):
        other.start()


def test_a_clock_that_is_set_forward(network: tuple[Network, Host], directory: Path) -> None:
    """No block states a time beyond what its epoch allows: the epoch turns first."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    sealer = story.running
    story.commit(2)
    zygote.down = True
    story.clock.ahead = INTERVAL + MAX_OVERDUE
    story.clock.elapsed += 20_000
    sealer.tick()
    assert sealer.status().late
    assert sealer.turns.room() == NO_ROOM
    assert sealer.counters.blocks == 1
    assert sealer.wait_seconds() > 0
    zygote.down = False
    story.clock.elapsed += 30_000
    story.pump()
    assert sealer.counters.epochs == 2
    story.commit(1)
    _close(story, host)


def test_a_close_that_could_not_be_signed(network: tuple[Network, Host], directory: Path) -> None:
    """The next start signs it first; its note stands behind the next epoch line, before that line's own."""
    zygote, host = network
    story = Story(host, directory / "log", None, state_dir=directory / "state")
    story.start()
    story.commit(2)
    zygote.down = True
    story.running.close_log()
    assert story.running.checkpoints.due is not None
    story.running.release()
    verdict = host.verify(story.logdir, story.clock.now)
    assert (verdict.verdict, [problem.kind for problem in verdict.problems]) == (
        "incomplete",
        ["close_unsigned"],
    )
    zygote.down = False
    (closed,) = story.logdir.glob("segments/*.seal")
    before = closed.read_bytes()
    assert story.start().link == "carry"
    assert closed.read_bytes() == before
    assert story.running.calls.made == {"issue": 1, "sign": 2, "key": 1}
    _, begun = sorted(story.logdir.glob("segments/*.seal"))
    assert [line.split(b" ")[0] for line in begun.read_bytes().splitlines()] == [b"epoch", b"note", b"note"]
    story.commit(1)
    _close(story, host)


def _take_secret(story: Story) -> None:
    """Let the answer to the next epoch's call arrive."""
    sealer = story.running
    sealer.tick()
    courier, made = sealer.calls.fileno(), dict(sealer.calls.made)
    assert courier is not None
    assert select.select([courier], [], [], 10)[0]
    sealer.take_answer()
    assert sealer.calls.made == {**made, "sign": made["sign"] + 1}
