"""Every durable step of a sealer fails in turn; whatever is left, a new one goes on, and the verifier agrees.

Each case drives one story, lets one step fail (`Faults`), throws the sealer away as a kill would, and starts
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from epochseal.custody.ratchet_page import RatchetPage
from epochseal.errors import ConfigError, LogBusy, StorageError
from epochseal.sealing.log_state import LogState
from epochseal.storage import aside
from epochseal.storage.durable import AppendFile, DurabilityError, replace_file
from tests.fault.samples import sample
from tests.fault.story import Host, Story, check, go_on, read_files, read_log

MODES = ("not done", "half done", "done")
STEPS = ("append", "sync", "truncate", "rename", "replace", "publish", "state", "carry", "destroy")


class Killed(BaseException):
    """The process ends here: nothing that it would do about an error is done."""


class Faults:
    """Counts the durable steps, and fails one of them.

    Args:
        victim: the number of the step, from 0; -1 for none.
        mode: whether it fails before, half-way through or after what it does.
        error: what is raised.
    """

    def __init__(self, victim: int = -1, mode: str = "not done", error: type[BaseException] = Killed) -> None:
        self.victim, self.mode, self.error = victim, mode, error
        self.trace: list[str] = []

    @contextmanager
    def active(self) -> Iterator[Faults]:
        """Put them between the sealer and its durable steps."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("append", "sync", "truncate"):
                patch.setattr(AppendFile, name, self._wrap(name, getattr(AppendFile, name)))
            patch.setattr(RatchetPage, "publish", self._wrap("publish", RatchetPage.publish))
            patch.setattr("epochseal.sealing.checkpoints.replace_file", self._wrap("replace", replace_file))
            for name, method in (
                ("state", "replace"),
                ("carry", "write_carry"),
                ("destroy", "destroy_carry"),
                ("take back", "take_back"),
            ):
                patch.setattr(LogState, method, self._wrap(name, getattr(LogState, method)))
            patch.setattr(Path, "rename", self._wrap_rename(Path.rename))
            patch.setattr("epochseal.storage.aside._unlink", self._wrap("remove", aside._unlink))  # noqa: SLF001  # each file is a step
            yield self

    def _wrap(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any) -> Any:  # noqa: ANN401  # stands for eight functions
            return self._step(name, partial(real, *args), real, args)

        return step

    def _wrap_rename(self, real: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def rename(path: Path, target: Path) -> Path:
            # What is replaced whole counts as one step.
            if path.suffix in {".log", ".seal"}:
                renamed: Path = self._step("rename", partial(real, path, target), real, (path, target))
                return renamed
            return real(path, target)

        return rename

    def _step(self, name: str, do: Callable[[], Any], real: Callable[..., Any], args: tuple[Any, ...]) -> Any:  # noqa: ANN401  # as above
        number = len(self.trace)
        self.trace.append(name)
        if number != self.victim:
            return do()
        if self.mode == "done":
            do()
        elif self.mode == "half done" and name == "append":
            file_, data = args
            real(file_, data[: len(data) // 2])
        raise self.error("injected")


def steps_of(story: Callable[[], object]) -> list[str]:
    """The durable steps that a story takes when none fails."""
    with Faults().active() as faults:
        story()
    return faults.trace


def cases(steps: list[str]) -> list[tuple[int, str]]:
    """Every step in every way in which it can fail."""
    return [
        (number, mode)
        for number, name in enumerate(steps)
        for mode in MODES
        if name == "append" or mode != "half done"
    ]


def some(steps: list[str], place: str) -> list[tuple[int, str]]:
    """Of every kind of step one that fails in each way; at every step where large samples are wanted."""
    return sample(cases(steps), place, lambda case: (steps[case[0]], case[1]))


def test_the_story_itself_is_sealed(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """Without a fault the log verifies, and the story reaches every kind of durable step but the cut."""
    story = Story(host, directory / "log", runtime_dir)
    steps = steps_of(story.tell)
    assert set(steps) == set(STEPS) - {"truncate"}
    assert story.acknowledged == story.sent
    check(story, gapless=True)


def test_a_fault_at_every_step(host: Host, directory: Path, runtime_dir: Path | None, here: str) -> None:
    """Each step fails before, half-way, after: nothing more is sealed then, and a new start loses nothing."""
    counted = Story(host, directory / "counted", runtime_dir, state_dir=directory / "state")
    steps = steps_of(counted.tell)
    for victim, mode in some(steps, here):
        name = f"{victim}-{mode}"
        story = Story(host, directory / name, runtime_dir, state_dir=directory / f"{name}-state")
        # A write that an error cuts short is taken back; only a kill leaves a half of it.
        error = Killed if mode == "half done" else DurabilityError
        with Faults(victim, mode, error).active(), pytest.raises(error, match="injected"):
            story.tell()
        before = read_files(story.logdir)
        assert not story.running.live
        with pytest.raises(StorageError):
            story.commit(1)
        story.running.close_log()
        assert read_files(story.logdir) == before
        story.kill()
        go_on(story)
        check(story, gapless=runtime_dir is not None)


def test_foreign_bytes_are_set_aside(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """Lines that somebody appended while no agent ran are kept apart, and are sealed by no restart."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(2)
    story.kill()
    (log,) = story.logdir.glob("segments/*.log")
    with log.open("ab") as target:
        target.write(b"entry 7\nforeign")
    finding = story.start()
    assert finding.set_aside == len(b"entry 7\nforeign")
    story.commit(1)
    story.finish()
    assert read_log(story.logdir).links == ["genesis", "cold" if runtime_dir is None else "carry"]
    assert (log.with_suffix(".unsealed")).read_bytes() == b"entry 7\nforeign"
    check(story, gapless=False)
    verdict = story.host.verify(story.logdir, story.clock.now)
    assert verdict.verdict == "incomplete"


def test_an_interrupted_commit_is_completed(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """With a page, entries of which a kill left a part are sealed whole and marked; without, set aside."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(1)
    with _torn_append(1), pytest.raises(Killed):
        story.commit(4, 2)
    story.kill()
    finding = story.start()
    story.finish()
    sealed = read_log(story.logdir)
    if runtime_dir is None:
        assert finding.set_aside == len(b"".join(story.sent[1:])) // 2
        assert (sealed.content, sealed.recovered) == (story.sent[0], 0)
    else:
        assert finding.set_aside == 0
        assert (sealed.content, sealed.recovered) == (b"".join(story.sent), 2)
        assert sealed.links == ["genesis"]


def test_a_file_that_changes_behind_the_sealer_is_refused(
    host: Host, directory: Path, runtime_dir: Path | None
) -> None:
    """Bytes that appear between two commits end the sealing before anything is appended behind them."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(1)
    (log,) = story.logdir.glob("segments/*.log")
    with log.open("ab") as target:
        target.write(b"foreign\n")
    before = read_files(story.logdir)
    with pytest.raises(StorageError, match="grew behind our back"):
        story.commit(1)
    assert read_files(story.logdir) == before
    story.kill()


def test_a_clean_close_and_a_new_start(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """The next start links by the carry that the page kept; without any memory it is cold."""
    story = Story(host, directory / "log", runtime_dir)
    go_on(story)
    point = story.start()
    assert (point.link, point.closed) == (("cold", True) if runtime_dir is None else ("carry", False))
    story.commit(1)
    story.finish()
    assert read_log(story.logdir).links == ["genesis", point.link]
    check(story, gapless=runtime_dir is not None)


def test_a_mistyped_origin_costs_no_page(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """A start under another name is refused; the next one, under the right name, goes on from the page."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(1)
    story.kill()
    mistyped = Story(host, directory / "log", runtime_dir, "example.com/other")
    with pytest.raises(ConfigError, match=r"is the log of 'example\.com/faults'"):
        mistyped.start()
    mistyped.kill()
    assert story.start().link == ("cold" if runtime_dir is None else "running")
    story.finish()
    check(story, gapless=runtime_dir is not None)


def test_a_second_sealer_is_refused(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """While one holds the directory another is turned away, without touching the first one's page."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    story.commit(1)
    second = Story(host, directory / "log", runtime_dir)
    with pytest.raises(LogBusy):
        second.start()
    second.kill()
    story.commit(1)
    story.finish()
    check(story, gapless=True)


def test_restarts_do_not_stretch_an_epoch(host: Host, directory: Path, runtime_dir: Path | None) -> None:
    """The time that an epoch ran before a restart counts: it ends when its interval is over."""
    story = Story(host, directory / "log", runtime_dir)
    story.start()
    for _ in range(3):
        story.commit(1)
        story.kill()
        story.clock.elapsed += 120_000
        story.start()
    story.finish()
    links = read_log(story.logdir).links
    assert links == (["genesis", "cold", "cold", "cold"] if runtime_dir is None else ["genesis", "carry"])


@pytest.mark.parametrize("torn", ["log", "seal"])
def test_a_fault_at_every_step_of_a_recovery(
    host: Host, directory: Path, runtime_dir: Path | None, torn: str, here: str
) -> None:
    """A kill in mid-write, the next at any step of mending that: the third process goes on without loss."""

    def recover(name: str, faults: Faults) -> None:
        story = Story(host, directory / name, runtime_dir)
        story.start()
        story.commit(2)
        # Within a commit: the entries are the first thing appended, the line the second.
        with _torn_append(1 if torn == "log" else 2), pytest.raises(Killed):
            story.commit(3)
        story.kill()
        with faults.active(), suppress(Killed):
            story.start()
        story.kill()
        go_on(story)
        check(story, gapless=runtime_dir is not None)

    counted = Faults()
    recover("counted", counted)
    # Without a page the torn rest is cut off; with one it is completed.
    assert ("truncate" in counted.trace) == (runtime_dir is None)
    for victim, mode in some(counted.trace, here):
        recover(f"{victim}-{mode}", Faults(victim, mode))


@contextmanager
def _torn_append(number: int) -> Iterator[None]:
    calls = 0
    real = AppendFile.append

    def append(self: AppendFile, data: Any) -> None:  # noqa: ANN401  # any of the three kinds of bytes
        nonlocal calls
        calls += 1
        if calls == number:
            real(self, data[: len(data) // 2])
            raise Killed("injected")
        real(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AppendFile, "append", append)
        yield
