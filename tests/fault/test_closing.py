"""A clean close and the start behind it, killed at each of their steps: nothing of it ever needs a person.

Once the carry of a close is kept, the next start goes on by it, however many starts before it were cut short.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from epochseal.sealing.backend_calls import BackendCalls
from tests.fault.story import Host, Story, check, go_on, read_files, read_log
from tests.fault.test_sealer_faults import Faults, Killed, some, steps_of


def story(host: Host, folder: Path, *, page: bool) -> Story:
    """A log with a state, and a page that outlives the process or not; entries are in it, and it runs."""
    runtime = folder / "runtime"
    runtime.mkdir(parents=True)
    made = Story(host, folder / "log", runtime if page else None, state_dir=folder / "state")
    made.start()
    made.commit(2)
    return made


def killed_in(act: Callable[[], object], made: Story, victim: int, mode: str) -> None:
    """The process ends at one step of something."""
    with Faults(victim, mode).active(), pytest.raises(Killed):
        act()
    made.kill()


def carries(made: Story) -> list[Path]:
    """The carry files that there are."""
    assert made.state_dir is not None
    return list(made.state_dir.glob("*/carry"))


@pytest.mark.parametrize("page", [True, False], ids=["page", "state only"])
def test_a_close_that_is_killed(host: Host, directory: Path, here: str, *, page: bool) -> None:
    """With a page nothing is lost. Without, it is a crash until the carry is there, then a close."""
    steps = steps_of(story(host, directory / "counted", page=page).finish)
    assert steps.index("append") < steps.index("state") < steps.index("carry")
    assert "replace" in steps[steps.index("carry") :]
    links = {}
    for victim, mode in some(steps, here):
        made = story(host, directory / f"{victim}-{mode}", page=page)
        killed_in(made.finish, made, victim, mode)
        point = made.start()
        links[victim, mode] = (point.link, point.closed)
        made.commit(1)
        made.finish()
        check(made, gapless=page or point.link == "carry")
        assert point.memory == "agrees"
    carry = steps.index("carry")
    if page:
        assert {link for link, _ in links.values()} == {"running", "carry"}
    else:
        for (victim, mode), (link, closed) in links.items():
            kept = victim > carry or (victim, mode) == (carry, "done")
            state = steps.index("state")
            remembered = victim > state or (victim, mode) == (state, "done")
            assert (link, closed) == ("carry" if kept else "cold", remembered and not kept)


@pytest.mark.parametrize("page", [True, False], ids=["page", "state only"])
def test_a_start_behind_a_close_that_is_killed(host: Host, directory: Path, here: str, *, page: bool) -> None:
    """Then it goes on by the carry, also if it happened twice: no gap, nothing for a person to do."""
    counted = story(host, directory / "counted", page=page)
    counted.finish()
    steps = steps_of(counted.start)
    assert {"append", "publish", "state", "replace"} <= set(steps)
    assert "destroy" not in steps
    for victim, mode in some(steps, here):
        made = story(host, directory / f"{victim}-{mode}", page=page)
        made.finish()
        # With a page the next start is further on already.
        for _ in range(1 if page else 2):
            killed_in(made.start, made, victim, mode)
            assert carries(made)
            # Nor is anybody accused before that, also where the epoch line stands and its note does not.
            verdict = host.verify(made.logdir, made.clock.now)
            assert verdict.verdict in {"verified", "incomplete"}, (victim, mode, verdict.problems)
        assert made.start().link in ({"carry", "running"} if page else {"carry"})
        made.commit(1)
        assert not carries(made)
        made.finish()
        check(made, gapless=True)
        assert carries(made)


def test_the_first_line_behind_it_uses_the_carry_up(host: Host, directory: Path, here: str) -> None:
    """Until that line is durable a kill is none; from then on it is one like any other. The carry is gone."""
    counted = story(host, directory / "counted", page=False)
    counted.finish()
    counted.start()
    steps = steps_of(partial(counted.commit, 1))
    assert steps[-1] == "destroy"
    line = len(steps) - 1 - steps[::-1].index("sync")
    for victim, mode in some(steps, here):
        made = story(host, directory / f"{victim}-{mode}", page=False)
        made.finish()
        made.start()
        killed_in(partial(made.commit, 1), made, victim, mode)
        whole = victim >= line or (victim, mode) == (line - 1, "done")
        assert made.start().link == ("cold" if whole else "carry")
        made.commit(1)
        assert not carries(made)
        made.finish()
        check(made, gapless=False)


def killed_unsigned(act: Callable[[], object], made: Story) -> None:
    """The process ends when it is about to ask for a signature."""

    def ask(_: BackendCalls, __: bytes) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BackendCalls, "start_sign", ask)
        with pytest.raises(Killed):
            act()
    made.kill()


def test_a_close_without_a_signature_is_signed_by_the_next_start(host: Host, directory: Path) -> None:
    """The signer was away at the close: the start behind it has it signed first, in the next segment."""
    for page in (True, False):
        made = story(host, directory / str(page), page=page)
        killed_unsigned(made.finish, made)
        verdict = host.verify(made.logdir, made.clock.now)
        assert {problem.kind for problem in verdict.problems} == {"close_unsigned"}
        assert made.start().link == "carry"
        made.commit(1)
        made.finish()
        check(made, gapless=True)


def test_a_log_that_is_stopped_before_it_takes_entries(host: Host, directory: Path) -> None:
    """Three starts were stopped before anybody signed: their epoch lines alone hand the carry on."""
    made = story(host, directory, page=False)
    made.finish()
    for _ in range(3):
        killed_unsigned(made.start, made)
    assert made.start().link == "carry"
    made.commit(1)
    made.finish()
    assert read_log(made.logdir).links == ["genesis", *["carry"] * 4]
    check(made, gapless=True)


@pytest.mark.parametrize("page", [True, False], ids=["page", "state only"])
def test_the_closed_segment_may_have_been_compressed(host: Host, directory: Path, *, page: bool) -> None:
    """A closed log's last log file takes no more entries: in another form it is the same log."""
    made = story(host, directory, page=page)
    made.finish()
    (log,) = (made.logdir / "segments").glob("*.log")
    log.with_name(f"{log.name}.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert made.start().link == "carry"
    made.commit(1)
    made.finish()
    verdict = host.verify(made.logdir, made.clock.now)
    assert (verdict.verdict, verdict.problems) == ("verified", [])


@pytest.mark.parametrize("victim", ["log", "seal"])
def test_bytes_behind_a_close_are_not_gone_on_with(host: Host, directory: Path, victim: str) -> None:
    """A closed file never grows: what somebody appended is set aside, and the start is a cold one."""
    made = story(host, directory, page=False)
    made.finish()
    (path,) = (made.logdir / "segments").glob(f"*.{victim}")
    path.write_bytes(path.read_bytes() + b"foreign\n")
    point = made.start()
    assert (point.link, point.memory, point.closed) == ("cold", "agrees", False)
    assert (point.set_aside, point.torn_aside) == ((8, 0) if victim == "log" else (0, 8))
    made.commit(1)
    made.finish()
    verdict = host.verify(made.logdir, made.clock.now)
    aside = "bad_unsealed" if victim == "log" else "torn_lines"
    assert {problem.kind for problem in verdict.problems} == {"cold_start", aside}


def test_a_carry_of_another_close_is_not_used(host: Host, directory: Path) -> None:
    """A carry file from a backup: it names another size, so it is as if there was none."""
    made = story(host, directory, page=False)
    made.finish()
    (carry,) = carries(made)
    shutil.copy(carry, directory / "older")
    go_on(made)
    shutil.copy(directory / "older", carry)
    before = read_files(made.logdir)
    point = made.start()
    assert (point.link, point.closed) == ("cold", True)
    made.commit(1)
    assert not carries(made)
    made.finish()
    assert before.keys() < read_files(made.logdir).keys()
    check(made, gapless=False)


def reboot(made: Story) -> None:
    """The page is gone with the tmpfs that it was on."""
    assert made.runtime_dir is not None
    for path in made.runtime_dir.iterdir():
        path.unlink()


def test_a_page_that_was_made_of_the_carry_file(host: Host, directory: Path, here: str) -> None:
    """Behind a close and a bare epoch, after two reboots: from the file to the page, killed at each step."""
    counted = story(host, directory / "counted", page=True)
    counted.finish()
    reboot(counted)
    for victim, mode in some(steps_of(counted.start), here):
        made = story(host, directory / f"{victim}-{mode}", page=True)
        made.finish()
        reboot(made)
        killed_unsigned(made.start, made)
        reboot(made)
        killed_in(made.start, made, victim, mode)
        assert made.start().link in {"carry", "running"}
        made.commit(1)
        made.finish()
        check(made, gapless=True)
