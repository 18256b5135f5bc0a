"""An agent is killed in the first epoch of a segment: what announced that epoch does not expire before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from epochseal.upkeep.retention import find_expired, remove_expired
from tests.fault.story import Host, Story


def prune(story: Story, keep: int) -> int:
    """Let expire what ended so many milliseconds ago; the number of the last segment that did, 0 for none."""
    expired = find_expired(story.logdir, keep, f"{keep}ms", story.clock.now())
    if expired is None:
        return 0
    story.running.record(expired.prune)
    story.running.request_next_epoch("interval")
    story.pump()
    remove_expired(story.logdir, expired)
    return expired.prune.segment


def verdict(story: Story) -> tuple[str, set[str]]:
    """What a verifier says."""
    found = story.host.verify(story.logdir, story.clock.now)
    return found.verdict, {problem.kind for problem in found.problems}


@pytest.mark.parametrize("signed", [False, True])
def test_nobody_distrusts_what_is_kept(host: Host, directory: Path, *, signed: bool) -> None:
    """Segment 1 holds what vouches for segment 2: it stays, unless that was signed for by itself."""
    story = Story(host, directory / "log", None, state_dir=directory / "state")
    story.start()
    story.commit(1)
    story.running.request_next_epoch("segment")
    story.pump()
    story.commit(1)
    if signed:
        story.running.request_next_epoch("interval")
        story.pump()
        story.commit(1)
    story.kill()
    story.clock.elapsed += 10_000
    assert story.start().link == "cold"
    story.commit(1)
    assert prune(story, 5_000) == (1 if signed else 0)
    assert verdict(story) == ("incomplete", {"cold_start"})
    # In its turn it goes with what it vouches for.
    story.clock.elapsed += 10_000
    assert prune(story, 5_000) == 2
    assert verdict(story) == ("incomplete", {"cold_start"})
    story.finish()
