"""A backend that is away: sealing goes on, stops at `max_overdue`, says so, and comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from epochseal.custody.courier import Courier
from epochseal.custody.memory import SecretPage
from epochseal.custody.zygote import Zygote
from epochseal.errors import BackendError, Unavailable
from epochseal.keys import Issued, parse_key_uri
from epochseal.sealing.backend_outage import Outlook
from epochseal.sealing.chain import Pace
from epochseal.sealing.due_times import PATIENCE
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


class Network(Zygote):
    """The way to a real backend, which a test takes away."""

    down = False
    losing = False
    couriers = 0

    def courier(self) -> Courier:
        """A courier, if the network is there."""
        if self.down:
            raise Unavailable("connection refused")
        self.couriers += 1
        courier = super().courier()
        if self.losing:
            courier.__class__ = LosingCourier
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

    def tell(outlook: Outlook, trouble: BackendError | None) -> None:
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


def test_a_segment_costs_one_signature_more(network: tuple[Network, Host], directory: Path) -> None:
    """The end of a segment is signed too, by the courier of that turn."""
    zygote, host = network
    story = Story(host, directory / "log", None)
    story.start()
    story.commit(1)
    story.running.request_next_epoch("segment")
    story.pump()
    assert story.running.calls.made == {"issue": 2, "sign": 3, "key": 1}
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
    zygote.losing = True
    story.clock.elapsed += INTERVAL
    for count in (1, 1, 1):
        story.pump()
        assert not any(host.mailbox.view)
        story.commit(count)
        story.clock.elapsed += 60_000
    abandoned = list(story.running.calls.abandoned)
    assert sum(item.calls for item in abandoned) == 3
    assert len(abandoned) == 3
    zygote.losing = False
    story.pump()
    assert story.running.counters.epochs == 2
    assert story.running.calls.abandoned == []
    (seal,) = (directory / "log").rglob("*.seal")
    second = seal.read_text(encoding="utf-8").split("\nepoch ")[1]
    for item in abandoned:
        assert item.tag in second
    _close(story, host)
