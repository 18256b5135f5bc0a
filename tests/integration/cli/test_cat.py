"""`epochseal cat`: what the source sent, byte for byte, and nothing that does not verify."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from epochseal.evidence.extract import extract, extract_unverified
from epochseal.format.escaping import escape
from epochseal.format.seal_lines import SourceMark
from epochseal.storage.segments import list_segments
from epochseal.verifier import Request, verify
from tests.integration.agents import PROGRAM, Place
from tests.integration.logs import LogKeys, LogWriter, entry

ENTRIES = [b"entry %04d\n" % number for number in range(100)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An empty log and its keys."""
    return Place(tmp_path, tmp_path)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """100 entries, 5 a block, 10 an epoch, 50 a segment."""
    folder = tmp_path_factory.mktemp("original")
    place = Place(folder, folder)
    options = ("--block-bytes", "55B", "--epoch-max-entries", "10", "--segment-bytes", "550B")
    place.seal(b"".join(ENTRIES), *options)
    return place


@pytest.fixture
def sealed(original: Place, place: Place) -> Place:
    """A copy of it, to be damaged."""
    shutil.copytree(original.log, place.log)
    return place


def cat(place: Place, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run it with both keys."""
    return place.run("cat", str(place.log), *place.verifier_keys, *options)


ODD = (
    b"\n\nNUL \x00\x00 and \x00\n\x00\n"
    b"one\r\ntwo\r\rthree\r\n\r\n"
    b"\xff\xfe\xc3( invalid \xed\xa0\x80\n\x80\n"
    b"\x1b[2J \x07 \x7f \xc2\x9b \xe2\x80\xa8 controls\n"
    b"\\\\x0a \\n \\\n\xef\xbb\xbfa byte order mark\n" + bytes(range(256)) + b"\n"
)
INPUTS = {
    "nothing": b"",
    "odd bytes": ODD,
    "an empty line at the end": ODD + b"\n",
    "no final newline": ODD + b"\x00 unfinished",
    "large": b"".join(b"%d\n" % number for number in range(20_000)) + b"x" * 300_000,
}


@pytest.mark.parametrize("name", INPUTS)
def test_exactly_what_was_sent(place: Place, name: str) -> None:
    """The input comes back as it was, whatever bytes it is made of, with or without a newline at its end."""
    place.seal(INPUTS[name], "--segment-bytes", "50000B")
    done = cat(place)
    assert (done.returncode, done.stdout, done.stderr) == (0, INPUTS[name], b"")


def test_two_inputs_without_final_newline(place: Place) -> None:
    """Two entries never run together; the end of the last input is given back as it was."""
    place.seal(b"one\ntwo")
    place.seal(b"three\nfour")
    assert cat(place).stdout == b"one\ntwo\nthree\nfour"
    assert cat(place, "--entries", "1..2").stdout == b"two\nthree\n"


RANGES = {
    "0..0": (0, 0),
    "7": (7, 7),
    "3..12": (3, 12),
    "45..55": (45, 55),
    "95..": (95, 99),
    "99..500": (99, 99),
}


def test_ranges(sealed: Place) -> None:
    """From and to are both included, over blocks, epochs and segments; compressed segments too."""
    log = sealed.file("log", 0)
    for text, (first, last) in RANGES.items():
        assert cat(sealed, "--entries", text).stdout == b"".join(ENTRIES[first : last + 1])
    log.with_name(f"{log.name}.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    assert cat(sealed, "--entries", "45..55").stdout == b"".join(ENTRIES[45:56])
    for first, last in RANGES.values():
        out: list[bytes] = []
        assert extract_unverified(sealed.log, out.append, (first, last)) == (True, [])
        assert b"".join(out) == b"".join(ENTRIES[first : last + 1])


@pytest.mark.parametrize("text", ["", "-1", "5..3", "..5", "1..2..3", "9" * 30])
def test_ranges_that_are_none(original: Place, text: str) -> None:
    """Exit 2, and a message that says what a range is."""
    done = cat(original, "--entries", text)
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"range" in done.stderr


def test_beyond_the_end(sealed: Place) -> None:
    """Entries that do not exist are no entries and no error."""
    done = cat(sealed, "--entries", "100..200")
    assert (done.returncode, done.stdout) == (0, b"")


def test_a_damaged_block_is_left_out(sealed: Place) -> None:
    """One byte was changed: its block is left out and named, all else is printed; the status is 1."""
    log = sealed.file("log", 0)
    content = bytearray(log.read_bytes())
    content[11 * 7] ^= 0x20
    log.write_bytes(content)
    done = cat(sealed)
    assert done.returncode == 1
    assert done.stdout == b"".join(ENTRIES[:5] + ENTRIES[10:])
    assert b"tampered: entries_altered: entries 5 to 9" in done.stderr
    looked = sealed.run("cat", str(sealed.log), "--unverified")
    assert (looked.returncode, looked.stdout) == (0, bytes(content) + b"".join(ENTRIES[50:]))


def test_a_damaged_seal_line_is_left_out_with_its_entries(sealed: Place) -> None:
    """A block line that was changed speaks for nothing."""
    seal = sealed.file("seal", 0)
    content = bytearray(seal.read_bytes())
    block = content.index(b"\nblock ") + 1
    place = content.index(b"\n", block) - 5
    # Another letter of base64: the line can still be read, so only its own block is in doubt.
    content[place] = ord("B" if content[place] == ord("A") else "A")
    seal.write_bytes(content)
    done = cat(sealed)
    assert (done.returncode, done.stdout) == (1, b"".join(ENTRIES[5:]))


def test_inserted_bytes_are_not_printed(sealed: Place) -> None:
    """A line between two sealed ones is not handed on; what was sealed around it is."""
    log = sealed.file("log", 0)
    content = log.read_bytes()
    log.write_bytes(content[:55] + b"never sealed\n" + content[55:])
    done = cat(sealed)
    assert (done.returncode, done.stdout) == (1, b"".join(ENTRIES))
    assert b"entries_inserted" in done.stderr


def test_a_cut_log_is_printed_as_far_as_it_goes(sealed: Place) -> None:
    """The end is gone: what is left is printed, with status 1 because a checkpoint says there was more."""
    left = sealed.file("log", 0).read_bytes()
    assert b"" != left != b"".join(ENTRIES)
    for ending in ("log", "seal"):
        first = sealed.file(ending, 0)
        for path in (sealed.log / "segments").glob(f"*.{ending}"):
            if path != first:
                path.unlink()
    # Not fresh, so that nobody waits for an agent that is about to go on.
    os.utime(sealed.file("seal"), (0, 0))
    done = cat(sealed)
    assert done.returncode == 1
    assert done.stdout == left
    assert b"checkpoint_ahead" in done.stderr


def test_bytes_after_the_sealed_ones_are_not_printed(sealed: Place) -> None:
    """What was appended to a log file, plain or compressed, is not handed on."""
    with sealed.file("log", 0).open("ab") as file:
        file.write(b"appended\n")
    done = cat(sealed)
    assert (done.returncode, done.stdout) == (1, b"".join(ENTRIES))
    assert b"foreign_bytes" in done.stderr


def test_the_wrong_keys(sealed: Place, tmp_path: Path) -> None:
    """With the key of somebody else nothing verifies, so nothing is printed."""
    other = LogKeys(tmp_path / "other", "another sentence")
    other.write()
    keys = [
        "--epoch-key",
        f"file:{tmp_path}/other/verifier",
        "--checkpoint-key",
        f"file:{tmp_path}/other/auditor",
    ]
    done = sealed.run("cat", str(sealed.log), *keys)
    assert (done.returncode, done.stdout) == (4, b"")


def test_another_origin(sealed: Place) -> None:
    """A log of another name than the one asked for is not handed on."""
    done = cat(sealed, "--origin", "log.example/other")
    assert (done.returncode, done.stdout) == (4, b"")


def test_an_incomplete_log_is_printed(place: Place) -> None:
    """After a crash all that is sealed is printed; the exit status says that something may be missing."""
    with place.agent() as agent:
        agent.send(b"one\n")
        agent.kill()
    place.seal(b"two\n")
    done = cat(place)
    assert (done.returncode, done.stdout) == (3, b"one\ntwo\n")
    assert b"incomplete: cold_start" in done.stderr


def test_both_keys_are_needed(sealed: Place) -> None:
    """Without a key that shows who wrote an entry nothing is called verified: exit 2 and a hint."""
    for keys in ([], sealed.verifier_keys[:2], sealed.verifier_keys[2:]):
        done = sealed.run("cat", str(sealed.log), *keys)
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"--unverified" in done.stderr


def test_no_log(place: Place) -> None:
    """Where there is no log, the status says that nothing was verified."""
    assert cat(place).returncode == 5
    assert place.run("cat", str(place.log), "--unverified").returncode == 5


def test_a_reader_that_goes_away(place: Place) -> None:
    """`cat | head` ends soon, with a status of its own and without a traceback."""
    place.seal(b"0123456789abcdef\n" * 200_000)
    for options in ([], ["--unverified"]):
        words = [PROGRAM, "cat", str(place.log), *place.verifier_keys, *options]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            assert process.stdout.readline() == b"0123456789abcdef\n"
            process.stdout.close()
            said = process.stderr.read()
            assert (process.wait(60), said) == (6, b"")


def test_unverified_does_not_wait_for_the_end_of_an_entry(place: Place) -> None:
    """A bomb of one endless line is passed on piece by piece: it costs no memory of its size."""
    place.seal(b"one\n")
    log = place.file("log")
    log.unlink()
    with gzip.open(log.with_name(f"{log.name}.gz"), "wb", 1) as file:
        for _ in range(300):
            file.write(bytes(1 << 20))
    script = f"ulimit -v 250000; exec {PROGRAM} cat --unverified {place.log} | wc -c"
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True, timeout=60)
    assert int(done.stdout) == 300 << 20


def _given_back(writer: LogWriter) -> bytes:
    for path in writer.logdir.glob("segments/*.seal"):
        os.utime(path, (0, 0))  # old to the file system: nobody waits for an agent that is not there
    out: list[bytes] = []
    request = Request(
        make_recoverer=writer.keys.recoverer,
        checkpoint_key=writer.keys.public,
        now=lambda: writer.time + 1000,
    )
    extract(writer.logdir, writer.keys.recoverer(), verify(writer.logdir, request), out.append)
    return b"".join(out)


def test_escaped_entries_are_given_back_as_they_came(place: Place) -> None:
    """Blocks whose source escaped its entries are undone; others are not, whatever they look like."""
    odd = [b"two\nlines", b"back\\slash", b"\x1b[2J", b"\xc2\x85"]
    stored = [escape(item) + b"\n" for item in odd]
    writer = LogWriter(place.log, place.keys).start("genesis")
    writer.block(*stored, src=SourceMark("frames", 1, esc=1))
    writer.block(*stored, src=SourceMark("lines", 1))
    writer.end()
    assert _given_back(writer) == b"".join(item + b"\n" for item in odd) + b"".join(stored)


def test_nothing_behind_a_broken_link_is_handed_on(place: Place) -> None:
    """Whoever has the agent's credential, but not the carry, can begin an epoch: none of it is given back."""
    writer = LogWriter(place.log, place.keys).start("genesis").block(entry(0))
    writer.end("entries")
    writer.carry = bytes(32)
    writer.start("carry", segment=False).block(entry(1)).turn().block(entry(2)).end()
    assert _given_back(writer) == entry(0)


def test_nothing_behind_an_unsigned_start_is_handed_on(place: Place) -> None:
    """Whoever has the public wrapping key alone can go on with a log: none of it is given back."""
    honest = LogWriter(place.log, place.keys).start("genesis").block(entry(0)).end()
    forger = LogWriter.after(place.log, place.keys, "forger", time=honest.time, signs=False)
    forger.start("carry").block(entry(1)).turn().block(entry(2)).end()
    assert _given_back(forger) == entry(0)


def test_what_came_after_the_verdict_is_not_handed_on(place: Place) -> None:
    """Entries that are sealed between verifying and reading were not verified."""
    writer = LogWriter(place.log, place.keys).start("genesis").block(entry(0))
    request = Request(
        make_recoverer=place.keys.recoverer, checkpoint_key=place.keys.public, now=lambda: writer.time
    )
    verdict = verify(place.log, request)
    assert verdict.verdict == "verified"
    writer.block(entry(1))
    out: list[bytes] = []
    extract(place.log, place.keys.recoverer(), verdict, out.append)
    assert out == [entry(0)]
    assert len(list_segments(place.log).segments) == 1
