"""The scanner finds what is there: without that, finding nothing would mean nothing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.memory.log_keys import check_schedule
from tests.memory.patterns import FORMS, KEY_SIZE, _compress, make_patterns
from tests.memory.scanner import Index, scan, stopped

KEY = hashlib.sha256(b"a key that protects nothing").digest()
OTHERS = [(f"other {number}", hashlib.sha256(b"other %d" % number).digest()) for number in range(500)]

# A process that holds one form of a key which it makes from what it reads, and says when it has it.
_HOLDER = """
import base64, hmac, sys
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
form, key = sys.argv[1], bytes.fromhex(sys.stdin.readline())[::-1]
kept = {
    "raw": lambda: bytearray(key), "hex": lambda: key.hex(), "HEX": lambda: key.hex().upper(),
    "base64": lambda: base64.b64encode(b"x" * int(sys.argv[2]) + key),
    "ipad": lambda: bytes(byte ^ 0x36 for byte in key), "opad": lambda: bytes(byte ^ 0x5c for byte in key),
    "midstate": lambda: HMAC(key, SHA256()),
}[form]()
del key
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("form", "shift"), [*((form, 0) for form in FORMS), ("base64", 1), ("base64", 2), ("base64", 7)]
)
def test_every_form_is_found_in_another_process(form: str, shift: int) -> None:
    """A real process holds a key in one form: the scan names the key and the form, and no other key."""
    index = Index(make_patterns([("the key", KEY), *OTHERS]))
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, form, str(shift)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Reversed on the way, so that reading it leaves nothing that is looked for but the key itself.
        process.stdin.write(KEY[::-1].hex().encode() + b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"
        with stopped(process.pid) as pids:
            found = scan(pids, index)
        process.stdin.close()
    assert form in {hit.form for hit in found.hits}
    assert {hit.key for hit in found.hits} == {"the key"}
    assert found.read > 1 << 20


def test_half_a_key_is_found_at_any_offset() -> None:
    """Sixteen bytes suffice, wherever they begin, and two halves that belong together are one place."""
    index = Index(make_patterns([("the key", KEY), *OTHERS]))
    for start in range(24):
        around = bytes(start) + KEY + bytes(40 - start)
        assert {place for place, _, _ in index.find(around)} == {start}
        assert {name for _, name, _ in index.find(around[: start + 16].ljust(80))} == {"the key"}
        assert {place for place, _, _ in index.find(bytes(start + 16) + KEY[16:] + bytes(9))} == {start}
    damaged = bytearray(bytes(8) + KEY + bytes(8))
    damaged[8 + 3] ^= 1
    damaged[8 + 30] ^= 1
    assert not list(index.find(bytes(damaged)))


def test_nothing_is_found_where_nothing_is() -> None:
    """Random bytes and text hold no key."""
    index = Index(make_patterns(OTHERS))
    rand = random.Random(1)
    assert not list(index.find(rand.randbytes(1 << 20)))
    assert not list(index.find(base64.b64encode(rand.randbytes(1 << 20))))
    assert not list(index.find(b""))
    assert not list(index.find(b"short"))


def test_midstates_are_those_of_sha256() -> None:
    """A hash that is continued from a state is that of the whole: it is what a library keeps of a key."""
    blocks = np.frombuffer(b"".join(key.ljust(64, b"\0") for _, key in OTHERS[:5]), np.uint8).reshape(-1, 64)
    inner = _compress(blocks ^ np.uint8(0x36))
    for row, (_, key) in zip(inner, OTHERS, strict=False):
        # One more block finishes the inner hash: message, padding, length in bits (FIPS 180-4, 5.1.1).
        message = b"message"
        padded = (
            message + b"\x80" + bytes(64 - 9 - len(message)) + (8 * (64 + len(message))).to_bytes(8, "big")
        )
        state = _compress(np.frombuffer(padded, np.uint8).reshape(1, 64), row.reshape(1, -1))
        ipad = bytes(byte ^ 0x36 for byte in key.ljust(64, b"\0"))
        assert state.astype(">u4").tobytes() == hashlib.sha256(ipad + message).digest()
    assert len(hmac.digest(KEY, b"", "sha256")) == KEY_SIZE


def test_the_schedule_is_the_agents() -> None:
    """The keys that are looked for are computed as the agent computes them."""
    check_schedule()


def test_children_are_held_too() -> None:
    """A process that forks is stopped with all of its children, and goes on afterwards."""
    with subprocess.Popen(["sh", "-c", "sleep 30 & sleep 30 & wait"]) as process:
        try:
            while True:
                with stopped(process.pid) as pids:
                    states = [
                        Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
                        for pid in pids
                    ]
                if len(pids) == 3:
                    break
            assert states == ["T"] * 3
        finally:
            for pid in pids:
                os.kill(pid, 15)
