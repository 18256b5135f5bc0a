"""Several threads may read their first lines at once: logs of one daemon, verifications of one program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import epochseal

ROUNDS = """
import sys, threading
import msgspec
from epochseal.encoding import decode_json
sys.setswitchinterval(1e-6)
RAW = b'{"inner":{"number":1},"deep":{"number":1,"inner":{"number":2}},"list":[],"text":"x"}'
for _ in range(100):
    exec('''
class Inner(msgspec.Struct): number: int
class Deep(msgspec.Struct): number: int; inner: Inner
class Kind(msgspec.Struct): inner: Inner; deep: Deep; list: list[Deep]; text: str
''')
    barrier = threading.Barrier(8)
    def read(kind):
        barrier.wait()
        decode_json(RAW, kind, "line")
    threads = [threading.Thread(target=read, args=(Kind,)) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


def test_a_type_that_is_met_by_several_threads() -> None:
    """The library alone crashes here."""
    done = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_other_way_to_decode() -> None:
    """Every type is looked into where its decoder is made: at import, by one thread, or in a lone process."""
    alone = {"key_checks.py", "courier_process.py", "digests.py"}
    found = {
        path.name
        for path in Path(epochseal.__file__).parent.rglob("*.py")
        if re.search(r"(json|msgpack)\.decode\(", path.read_text(encoding="utf-8"))
    }
    assert found == alone
