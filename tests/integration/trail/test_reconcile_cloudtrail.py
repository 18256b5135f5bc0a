"""A log held against CloudTrail files: honest ones, and each way in which log and trail can contradict."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from epochseal.format.seal_lines import Header
from epochseal.trail import read_sealed
from tests.integration.agents import PROGRAM
from tests.integration.trail import cloudtrail as ct
from tests.reference.keys import Keys
from tests.reference.maker import Maker
from tests.warm_program import run_text

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
SPACING = 60_000
ZERO_TAG = "A" * 43 + "="


@dataclass
class Case:
    """A log, and the events of the trail that goes with it."""

    log: Path
    folder: Path
    events: list[ct.Event]

    @property
    def headers(self) -> list[Header]:
        """The log's epoch lines."""
        return read_sealed(self.log).headers

    def reconcile(self, *options: str, paths: Sequence[Path] | None = None) -> tuple[int, Any]:
        """Exit status and result of the real command."""
        shutil.rmtree(self.folder / "trail", ignore_errors=True)
        files = ct.deliver(self.folder / "trail", self.events) if paths is None else paths
        done = run_text(["reconcile", str(self.log), "--trail", *map(str, files), "--json", *options])
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def kinds(self, *options: str) -> tuple[int, list[str]]:
        """Exit status and kinds of problems."""
        status, result = self.reconcile(*options)
        return status, [item["kind"] for item in result["problems"]]


def entry(number: int) -> bytes:
    """An entry with its LF."""
    return b"entry %04d, as sealed.\n" % number


def write(path: Path, keys: Keys, epochs: int = 6, lost: int = 0) -> Maker:
    """Epochs of a minute; the last one open. That of epoch 3 lists so many calls that came to nothing."""
    writer = Maker(path, keys).begin("genesis")
    for number in range(epochs):
        writer.block(entry(number))
        if number < epochs - 1:
            writer.time += SPACING
            if number == 2:  # the next one is epoch 3
                writer.abandoned += [(writer.size - 1, writer.tag)] * lost
            writer.turn()
    return writer


@pytest.fixture
def case(keys: Keys, tmp_path: Path) -> Case:
    """An honest log of six epochs and its honest trail."""
    write(tmp_path / "log", keys).close()
    return Case(tmp_path / "log", tmp_path, ct.honest(tmp_path / "log"))


def test_honest(case: Case) -> None:
    """Every epoch has its call, in files that were delivered out of order: clean."""
    status, result = case.reconcile()
    assert (status, result["verdict"]) == (0, "clean")
    assert (result["epochs"], result["matched"], result["calls"]) == (6, 6, 6)
    assert result["problems"] == []


def test_event_doubled(case: Case) -> None:
    """The same event in two files is one, and is told."""
    files = ct.deliver(case.folder / "twice", case.events)
    copy = files[0].with_name("again.json.gz")
    shutil.copy(files[0], copy)
    status, result = case.reconcile(paths=[*files, copy])
    assert status == 0
    assert [item["kind"] for item in result["notes"]] == ["doubled"]


def test_event_missing(case: Case) -> None:
    """An epoch whose secret was never issued is forged, by its number."""
    del case.events[3 * 2 + 1]
    status, result = case.reconcile()
    assert status == 1
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("sealed_not_issued", 2)]


def test_event_altered(case: Case) -> None:
    """A call at another tag than the epoch line says."""
    case.events[3 * 2 + 1]["requestParameters"]["encryptionContext"]["prev"] = ZERO_TAG
    status, result = case.reconcile()
    assert status == 1
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("other_prev", 2)]


def lossy(keys: Keys, tmp_path: Path, lost: int = 1) -> Case:
    """A log whose epoch 3 lists calls that came to nothing, and its trail without them."""
    write(tmp_path / "log", keys, lost=lost).close()
    return Case(tmp_path / "log", tmp_path, ct.honest(tmp_path / "log"))


def test_abandoned_calls_are_explained(keys: Keys, tmp_path: Path) -> None:
    """Calls that failed stand in the next epoch line: as many as it says are explained, and no more."""
    case = lossy(keys, tmp_path, lost=2)
    header = case.headers[3]
    tag = header.abandoned[0].tag
    case.events += [ct.issue(header, header.time - at, tag=tag) for at in (9000, 8000)]
    status, result = case.reconcile()
    assert (status, result["matched"]) == (0, 6)
    assert [item["kind"] for item in result["notes"]] == ["abandoned"]
    case.events.append(ct.issue(header, header.time - 7000, tag=tag))
    assert case.kinds() == (1, ["issued_not_sealed"])


def test_call_that_no_epoch_lists(case: Case) -> None:
    """An agent that goes on by the carry lists its calls: another one was somebody else's."""
    header = case.headers[3]
    case.events.append(ct.issue(header, header.time - 15_000))
    status, result = case.reconcile()
    assert status == 1
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("issued_not_sealed", 3)]


def test_call_that_a_power_cut_took(keys: Keys, tmp_path: Path) -> None:
    """A cold start has no list of what was asked before: incomplete, and told."""
    writer = write(tmp_path / "log", keys, epochs=3)
    asked = writer.size - 1, writer.tag
    writer.time += SPACING
    writer.begin("cold").block(entry(3)).close()
    case = Case(tmp_path / "log", tmp_path, ct.honest(tmp_path / "log"))
    header = case.headers[3]
    assert (header.link, header.asked.line) == ("cold", asked[0])
    case.events.append(ct.issue(header, header.time - 20_000))
    assert case.kinds() == (3, ["issued_unlisted"])


@pytest.mark.parametrize("same_tag", [True, False])
def test_signed_after_a_lost_call(keys: Keys, tmp_path: Path, same_tag: bool) -> None:  # noqa: FBT001  # pytest hands it over
    """If something was signed after it, it was used, listed or not: the log was rolled back, or is a fork."""
    case = lossy(keys, tmp_path)
    header = case.headers[3]
    tag = header.abandoned[0].tag if same_tag else case.headers[2].prev
    case.events += [ct.issue(header, header.time - 20_000, tag=tag), ct.sign(header.time - 17_000)]
    status, result = case.reconcile()
    assert status == 1
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("issued_not_sealed", 3)]


def test_order_within_a_second(keys: Keys, tmp_path: Path) -> None:
    """What CloudTrail's seconds leave open is said, and is not clean."""
    case = lossy(keys, tmp_path)
    header = case.headers[3]
    tag = header.abandoned[0].tag
    case.events += [ct.issue(header, header.time - 20_000, tag=tag), ct.sign(header.time - 20_000)]
    assert case.kinds() == (3, ["order_unclear"])


def test_secret_that_was_given_up(keys: Keys, tmp_path: Path) -> None:
    """The sign line that announced it explains the signature between the two calls.

    A second one may be that of a lost answer. A third one was over something else.
    """
    writer = write(tmp_path / "log", keys, epochs=3)
    lost = writer.ask()
    writer.sign(lost).note().block(entry(3))
    writer.time += SPACING
    writer.turn().close()
    case = Case(tmp_path / "log", tmp_path, ct.honest(tmp_path / "log"))
    header = case.headers[3]
    assert [item.line for item in header.abandoned] == [lost.asked[0]]
    tag = header.abandoned[0].tag
    case.events += [ct.issue(header, header.time - 40_000, tag=tag), ct.sign(header.time - 38_000)]
    assert case.kinds() == (0, [])
    case.events.append(ct.sign(header.time - 30_000))
    assert case.kinds() == (3, ["order_unclear"])
    case.events.append(ct.sign(header.time - 20_000))
    assert case.kinds() == (1, ["issued_not_sealed"])


def test_tag_of_no_line(case: Case) -> None:
    """A call that quotes a tag which the log has not: the caller had another log."""
    header = case.headers[3]
    case.events.append(ct.issue(header, header.time - 20_000, tag="B" * 42 + "A="))
    assert case.kinds() == (1, ["issued_not_sealed"])


@pytest.mark.parametrize("kept", range(1, 6))
def test_rolled_back(keys: Keys, tmp_path: Path, kept: int) -> None:
    """Set back to a clean close and left there: the calls of later epochs are not in the log."""
    whole = tmp_path / "whole"
    writer = write(whole, keys, epochs=kept)
    writer.close()
    shutil.copytree(whole, tmp_path / "log")
    for _ in range(6 - kept):
        writer.time += SPACING
        writer.begin("carry").block(entry(9)).close()
    case = Case(tmp_path / "log", tmp_path, ct.honest(whole))
    status, result = case.reconcile()
    assert status == 1
    found = [(item["kind"], item["epoch"]) for item in result["problems"]]
    assert found == [("issued_not_sealed", epoch) for epoch in range(kept, 6)]
    case.log = whole
    assert case.reconcile()[0] == 0


def test_rolled_back_and_continued(keys: Keys, tmp_path: Path) -> None:
    """A thief goes on from a clean close: two issue calls at one tag, and a signature between them."""
    whole = tmp_path / "whole"
    writer = write(whole, keys, epochs=3).close()
    thief = writer.fork(tmp_path / "log")
    writer.time += SPACING
    writer.begin("carry").block(entry(9)).close()
    thief.time = writer.time + SPACING
    thief.begin("cold").block(b"a foreign line\n").close()
    events = ct.honest(whole) + ct.honest(tmp_path / "log")[9:]
    case = Case(tmp_path / "log", tmp_path, events)
    status, result = case.reconcile()
    assert status == 1
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("issued_not_sealed", 3)]


def test_call_that_is_under_way(case: Case) -> None:
    """The newest call, at the end of the log, is not in the log yet: told, and no alarm."""
    last = case.headers[-1]
    tags = [line.rpartition(" ")[2] for line in _lines(case.log) if not line.startswith("note ")]
    case.events.append(ct.issue(last, last.time + 8000, tag=tags[-1], epoch=last.epoch + 1))
    status, result = case.reconcile()
    assert status == 0
    assert [(item["kind"], item["epoch"]) for item in result["notes"]] == [("not_adopted", 6)]


def _lines(log: Path) -> list[str]:
    return [line for path in sorted(log.glob("segments/*.seal")) for line in path.read_text().splitlines()]


def test_recovered_by_whom(case: Case) -> None:
    """Recover calls are told; by the agent itself, or by nobody who may, they are a contradiction."""
    header = case.headers[1]
    case.events.append(ct.recover(header, header.time + 5000))
    status, result = case.reconcile()
    assert status == 0
    assert [(item["kind"], item["who"]) for item in result["notes"]] == [("recovered", ct.VERIFIER)]
    assert case.kinds("--recovered-by", ct.VERIFIER) == (0, [])
    case.events.append(ct.recover(header, header.time + 5000, "arn:aws:iam::111122223333:user/mallory"))
    assert case.kinds("--recovered-by", ct.VERIFIER) == (1, ["recovered_by_stranger"])
    case.events.append(ct.recover(header, header.time + 5000, ct.AGENT))
    assert case.kinds() == (1, ["recovered_by_agent"])


def test_denied_attempts_are_told(case: Case) -> None:
    """A refused recovery by the agent is no contradiction, and a refused issue call is none."""
    header = case.headers[1]
    case.events += [
        ct.refused(ct.recover(header, header.time + 5000, ct.AGENT)),
        ct.refused(ct.issue(header, header.time + 6000)),
    ]
    status, result = case.reconcile()
    assert (status, result["calls"]) == (0, 6)
    assert sorted(item["detail"].split(":")[0] for item in result["notes"]) == [
        "1 calls to issue",
        "1 calls to recover",
    ]


SHORT: dict[str, tuple[Callable[[Case], None], str]] = {
    "begins late": (lambda case: case.events.__delitem__(slice(6)), "not_covered"),
    "ends early": (lambda case: case.events.__delitem__(slice(12, None)), "not_covered"),
    "without key events": (
        lambda case: case.events.__setitem__(
            slice(None), [item for item in case.events if item["eventName"] != "GenerateDataKey"]
        ),
        "trail_silent",
    ),
}


@pytest.mark.parametrize("name", SHORT)
def test_trail_that_is_not_whole(case: Case, name: str) -> None:
    """What a trail does not reach is incomplete, not clean and not forged."""
    change, kind = SHORT[name]
    change(case)
    status, found = case.kinds()
    assert status == 3
    assert set(found) == {kind}


def test_nothing_to_compare(case: Case, tmp_path: Path) -> None:
    """An empty log, or a trail of somebody else: never 0."""
    case.events = [ct.foreign(case.headers[0].time)]
    assert case.reconcile()[0] == 3
    (tmp_path / "none").mkdir()
    case.log = tmp_path / "none"
    assert case.reconcile()[0] == 5


def test_file_that_is_no_trail(case: Case) -> None:
    """It is named, with what to do."""
    path = case.folder / "other.json"
    for content in (
        b"<html>",
        b'{"Records":[{"eventName":1}]}',
        b'{"type":"response"}\n',
        b"\x1f\x8b\x08broken",
    ):
        path.write_bytes(content)
        done = run_text(["reconcile", str(case.log), "--trail", str(path)])
        assert done.returncode == 6
        assert str(path) in done.stderr
        assert "hint" in done.stderr
        assert "Traceback" not in done.stderr


def test_table_for_people(case: Case) -> None:
    """Without --json a verdict, the figures, and a row for each finding."""
    del case.events[3 * 2 + 1]
    files = ct.deliver(case.folder / "trail", case.events)
    words = [PROGRAM, "reconcile", str(case.log), "--trail", str(files[0]), "--trail", *map(str, files[1:])]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout.startswith("CONTRADICTION")
    assert "sealed_not_issued: the backend never issued the secret of this epoch: it is forged" in done.stdout


def test_many_events(keys: Keys, tmp_path: Path) -> None:
    """A production volume of events over many files is read whole, and one missing among them is found."""
    epochs, files, total = (5000, 400, 100_000) if FULL else (200, 40, 5_000)
    write(tmp_path / "log", keys, epochs=epochs).close()
    case = Case(tmp_path / "log", tmp_path, ct.honest(tmp_path / "log"))
    first, last = case.headers[0].time, case.headers[-1].time
    missing = total - len(case.events)
    case.events += [ct.foreign(first + (last - first) * number // missing) for number in range(missing)]
    paths = ct.deliver(tmp_path / "many", case.events, files)
    status, result = case.reconcile(paths=paths)
    assert (status, result["matched"], result["files"]) == (0, epochs, files)
    del case.events[3 * 77 + 1]
    status, result = case.reconcile(paths=ct.deliver(tmp_path / "less", case.events, files))
    assert status == 1
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("sealed_not_issued", 77)]
