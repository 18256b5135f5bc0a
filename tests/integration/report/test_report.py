"""`epochseal verify --report`: the page as a person gets it, in a real browser."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest

from epochseal.report import Subject, render_report
from epochseal.report.formatting import sentence
from epochseal.report.page import MAX_EXCERPTS, MAX_PROBLEMS
from epochseal.report.timeline import MAX_BARS
from epochseal.verifier import KINDS
from tests.integration.logs import MINUTE, Log, LogKeys, LogWriter, entry, write_log
from tests.integration.report.browser import open_browser

PROGRAM = str(Path(sys.executable).parent / "epochseal")
SCRIPT = b"<script>document.title = 'ran'</script><img src=x onerror=\"document.title='ran'\">"


@pytest.fixture
def log(tmp_path: Path, keys: LogKeys) -> Log:
    """35 entries in 6 epochs and 3 segments, closed."""
    return write_log(tmp_path / "log", keys)


def page_of(log: Log) -> str:
    """The page about a log, rendered at the time of its verdict."""
    verdict = log.verify("keys")
    return render_report([Subject(log.path, verdict, ("epochseal verify log",))], log.now).decode("utf-8")


def change(path: Path, old: bytes, new: bytes) -> None:
    """Put one text in the place of another one, which must be there."""
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


# --- in the browser ----------------------------------------


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 800)], ids=["phone", "desktop"])
def test_the_damaged_range_is_on_the_first_screen(
    tmp_path: Path, log: Log, keys: LogKeys, width: int, height: int
) -> None:
    """An altered entry with markup in it: its range is above the fold, the markup is text, no script runs."""
    change(log.files("log")[1], entry(16), entry(16)[:-1] + SCRIPT + b"\n")
    page = tmp_path / "out.html"
    role = keys.directory
    command = [PROGRAM, "verify", str(log.path), "--epoch-key", f"file:{role / 'verifier'}"]
    command += ["--checkpoint-key", f"file:{role / 'auditor'}", "--report", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    with open_browser(tmp_path, width, height) as browser:
        browser.open(page)
        assert browser.text(browser.find("h1")[0]).lower() == "tampered"
        ranges = browser.find(".top .range")
        assert browser.text(ranges[0]).lower() == "entries 15 to 17"
        place = browser.rectangle(ranges[0])
        assert place["y"] + place["height"] <= height
        assert browser.rectangle(browser.find("html")[0])["width"] <= width
        assert browser.find("script") == browser.find("img") == browser.find("link") == []
        assert browser.title() == "Tampered: log.example/attacks"
        shown = [browser.text(row) for row in browser.find(".excerpt tr.bad .text")]
        assert shown == [
            "entry 0015, as sealed.",
            "entry 0016, as sealed." + SCRIPT.decode(),
            "entry 0017, as sealed.",
        ]
        around = [browser.text(row) for row in browser.find(".excerpt tr.good .no")]
        assert around == ["12", "13", "14", "18", "19", "20"]


# --- what it says ----------------------------------------


def test_a_whole_log_says_so(log: Log) -> None:
    """A verified log has no findings, and the page names what it cannot show."""
    page = page_of(log)
    assert '<html lang="en" class="is-verified">' in page
    assert "<h2>Findings</h2>" not in page
    assert "The log alone cannot show that nothing followed its clean close" in page


def test_a_public_key_alone_claims_no_more_than_it_shows(log: Log) -> None:
    """Without the epoch key the page speaks of what was signed, not of what was sealed."""
    page = render_report([Subject(log.path, log.verify("public"), ("epochseal",))], log.now).decode("utf-8")
    assert "Everything that is here is what the log&#39;s key signed" in page
    assert "No epoch key was given: whoever held the signing credential could have rewritten" in page


def test_the_page_needs_nothing_from_elsewhere(log: Log) -> None:
    """No script, no address, no style but the one whose digest stands in the policy."""
    page = page_of(log)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not re.search(r"<script|<link|<img|<iframe|https?://|url\(| style=| on[a-z]+=", page)


def test_inserted_and_removed_entries_are_shown_where_they_are(log: Log) -> None:
    """What was added is marked, what is gone is counted, and the entries around keep their numbers."""
    change(log.files("log")[0], entry(3), b"foreign\n" + entry(3))
    change(log.files("log")[1], entry(13), b"x\n" + entry(13))
    last = log.files("log")[2]
    last.write_bytes(last.read_bytes()[: -2 * len(entry(0))])
    page = page_of(log)
    assert re.search(
        r'<tr class="bad"><td class="no"></td><td class="mark">✗</td><td class="text">foreign<', page
    )
    assert "3 entries were sealed here, now 4 are here" in page
    assert "2 sealed entries are not here" in page
    assert re.search(r'<tr class="good"><td class="no">32</td>.*entry 0032, as sealed', page)


def test_a_compressed_segment_is_read_as_the_plain_one(log: Log) -> None:
    """The same damage in a `.log.gz` gives the same rows."""
    path = log.files("log")[1]
    change(path, entry(16), entry(16).upper())
    plain = re.findall(r'<tr class="(?:bad|good)"><td class="no">.*', page_of(log))
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert re.findall(r'<tr class="(?:bad|good)"><td class="no">.*', page_of(log)) == plain
    assert sum("✗" in row for row in plain) == 3


def test_what_could_deceive_a_reader_is_escaped(log: Log) -> None:
    """Controls, a turn of the writing direction and bytes that are no UTF-8 are shown as escapes."""
    change(log.files("log")[1], entry(16), "a\x1b[2J\u202eb\r".encode() + b"\xff\x00\n")
    page = page_of(log)
    for text in ("\\x1b", "\\u202e", "\\r", "\\xff", "\\x00"):
        assert text in page
    assert not re.search("[\x00-\x09\x0b-\x1f\u202e]", page)


@pytest.mark.parametrize("at", [9, 5_000, 9_990])
def test_a_change_in_a_long_line_is_on_the_page(tmp_path: Path, keys: LogKeys, at: int) -> None:
    """Wherever in an entry of 10,000 bytes a word was changed: the excerpt has it."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    long = bytearray(b"x" * 10_000 + b"\n")
    writer.block(entry(0)).block(entry(1) + bytes(long)).block(entry(2)).end()
    log = Log(tmp_path / "log", keys, writer.time + 1000)
    long[at : at + 6] = b"denied"
    change(log.files("log")[0], b"x" * 10_000 + b"\n", bytes(long))
    page = page_of(log)
    assert "denied" in page
    assert "left out here" not in page


def test_both_ends_of_a_very_long_line_are_on_the_page(tmp_path: Path, keys: LogKeys) -> None:
    """Of an entry that no page can bear both ends are shown, with what is left out between them."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    writer.block(b"first" + b"x" * 1_000_000 + b"last\n").end()
    log = Log(tmp_path / "log", keys, writer.time + 1000)
    change(log.files("log")[0], b"first", b"begin")
    page = page_of(log)
    assert re.search(r'class="text">beginx', page)
    assert "xlast</td>" in page
    assert "bytes are left out here" in page
    assert len(page) < 100_000


def test_a_missing_segment_is_a_gap(log: Log) -> None:
    """The table names the segments that are not there, between those that are."""
    for path in (*log.files("log")[1:2], *log.files("seal")[1:2]):
        path.unlink()
    page = page_of(log)
    assert "A segment between others was removed (segments 2 to 2)" in page
    assert '<tr class="gap bad">' in page


def test_damage_everywhere_makes_no_larger_page(tmp_path: Path, keys: LogKeys) -> None:
    """A thousand epochs, each of them damaged: the page is bounded, and says what it leaves out."""
    writer = LogWriter(tmp_path / "log", keys).start("genesis")
    for number in range(1000):
        writer.block(entry(number)).block()
        writer.turn("segment" if number % 2 else "entries", signed=False)
    writer.block(entry(1000)).end()
    log = Log(tmp_path / "log", keys, writer.time + 1000)
    for path in log.files("log"):
        path.write_bytes(path.read_bytes().upper())
    page = page_of(log)
    assert page.count('class="finding ') == MAX_PROBLEMS
    assert 0 < page.count("<figure") <= MAX_EXCERPTS
    assert page.count('<rect class="bar') <= 3 * MAX_BARS
    assert len(page) < 300_000
    assert "more findings left out here" in page
    assert "with a finding</td>" in page


def test_several_logs_are_several_chapters(tmp_path: Path, keys: LogKeys) -> None:
    """The gravest verdict heads the page, and each log has its own."""
    good, bad = write_log(tmp_path / "good", keys), write_log(tmp_path / "bad", keys, time=MINUTE)
    change(bad.files("log")[0], entry(1), entry(2))
    subjects = [Subject(item.path, item.verify("keys"), ("epochseal verify",)) for item in (good, bad)]
    page = render_report(subjects, good.now).decode("utf-8")
    assert '<html lang="en" class="is-tampered">' in page
    assert '<main id="log-1" class="log is-verified">' in page
    assert '<main id="log-2" class="log is-tampered">' in page


def test_an_empty_directory_is_no_verdict(tmp_path: Path, keys: LogKeys) -> None:
    """Where nothing was checked the page says that, and no figure of it could be taken for a result."""
    page = page_of(Log(tmp_path / "nothing", keys, MINUTE))
    assert "Nothing was checked: no sealed log is here." in page
    assert "<dl" not in page


# --- the words ----------------------------------------


def test_a_warning_says_what_to_do(log: Log) -> None:
    """The page gives the advice of the manual for warnings too, as text without the marks of Markdown."""
    (log.path / "checkpoint").unlink()
    page = page_of(log)
    assert "The file checkpoint is missing; the checkpoints in the seal files were used." in page
    assert (
        "<b>What to do.</b> See who removed it; the agent writes a new one with its next checkpoint." in page
    )


def test_advice_has_no_marks_of_markdown() -> None:
    """A link of the manual is the name of its page, and a question has no full stop."""
    said = {name: sentence(kind.advice) for name, kind in KINDS.items()}
    assert said["key_compromised"].startswith("See docs/rotation.md: name the new key")
    assert said["source_gap"].endswith("before it was read to its end (docs/tailing.md): look for a copy")
    assert not [text for text in said.values() if re.search(r"[`\[\]]|\.$", text)]
