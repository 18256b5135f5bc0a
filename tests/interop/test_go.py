"""Go's golang.org/x/mod/sumdb, which C2SP signed-note was written down from, and ours accept each other.

Debian packages it (golang-golang-x-mod-dev), so the test builds a small program with it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from epochseal.errors import VerificationError
from epochseal.evidence.prover import prove
from epochseal.format.note import VerifierKey, parse_checkpoint, parse_note, parse_vkey, verify_note
from tests.integration.logs import ORIGIN, LogKeys, write_log

HERE = Path(__file__).parent
GOPATH = "/usr/share/gocode"


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of reference.go."""
    folder = tmp_path_factory.mktemp("go")
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "GOPATH": GOPATH,
        "GOCACHE": str(folder / "cache"),
        "GOFLAGS": "",
    }
    subprocess.run(
        ["go", "build", "-o", folder / "reference", HERE / "reference.go"],
        check=True,
        env=environment,
        timeout=300,
    )
    return folder / "reference"


def ask(reference: Path, *words: str, data: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run it."""
    return subprocess.run([reference, *words], input=data, check=False, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LogKeys:
    """The keys of the log here."""
    made = LogKeys(tmp_path_factory.mktemp("keys") / "keys")
    made.write()
    return made


def test_it_opens_our_checkpoints(reference: Path, tmp_path: Path, keys: LogKeys) -> None:
    """A log's checkpoint is a note to it by our vkey, and is none with one bit changed."""
    log = write_log(tmp_path / "log", keys)
    note, vkey = (log.path / "checkpoint").read_bytes(), VerifierKey(ORIGIN, keys.public).vkey
    opened = ask(reference, "open", vkey, data=note)
    assert (opened.returncode, opened.stdout.decode()) == (0, parse_note(note).text)
    changed = note.replace(ORIGIN.encode(), ORIGIN.replace("log", "lof").encode(), 1)
    assert ask(reference, "open", vkey, data=changed).returncode == 1


def test_we_open_its_notes(reference: Path) -> None:
    """A checkpoint signed by it, with a key that it made, is one to us, and is none with one bit changed."""
    text = f"example.com/theirs\n7\n{'A' * 43}=\n"
    vkey, _, note = ask(reference, "sign", "example.com/theirs", data=text.encode()).stdout.partition(b"\n")
    key = parse_vkey(vkey.decode())
    assert key.vkey == vkey.decode()
    assert verify_note(parse_note(note), [key]) == (key,)
    assert parse_checkpoint(parse_note(note).text).size == 7
    with pytest.raises(VerificationError):
        verify_note(parse_note(note.replace(b"\n7\n", b"\n6\n")), [key])


def test_it_checks_our_proofs(reference: Path, tmp_path: Path, keys: LogKeys) -> None:
    """For every entry the tlog-proof inside of our proof shows it the line, and shows it no other.

    So does the way of the last line, once it is written as a tlog-proof of its own.
    """
    log = write_log(tmp_path / "log", keys)
    vkey = VerifierKey(ORIGIN, keys.public).vkey
    for number in range(35):
        proof = prove(log.path, number, keys.public)
        inside = proof.encode()[proof.encode().index(b"c2sp.org/tlog-proof@v1\n") :]
        payload = proof.payload.decode()
        shown = ask(reference, "record", vkey, payload, data=inside)
        assert (shown.returncode, shown.stderr) == (0, b""), number
        assert ask(reference, "record", vkey, payload + " ", data=inside).returncode == 1
        last, ending = last_line(proof.encode())
        shown = ask(reference, "record", vkey, last, data=ending)
        assert (shown.returncode, shown.stderr) == (0, b""), number
        assert ask(reference, "record", vkey, payload, data=ending).returncode == 1


def last_line(proof: bytes) -> tuple[str, bytes]:
    """The last line's payload, and a tlog-proof of it (docs/format.md, 8.10)."""
    head, _, inside = proof.partition(b"c2sp.org/tlog-proof@v1\n")
    note = inside.partition(b"\n\n")[2]
    words = [line.partition(b" ") for line in head.splitlines()]
    ((*_, last),) = (item for item in words if item[0] == b"last")
    index = int(note.split(b"\n")[1]) - 1
    assert last.split(b" ")[1] == b"%d" % index
    path = b"".join(item[2] + b"\n" for item in words if item[0] == b"path")
    return last.decode(), b"c2sp.org/tlog-proof@v1\nindex %d\n%s\n%s" % (index, path, note)
