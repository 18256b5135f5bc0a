"""A large log as it looks after some time: 40 segments, half of them compressed, the oldest expired.

    python tests/bench/big_log.py --gb 10 --dir /var/tmp

Seals, compresses and prunes it with the real commands, verifies it with one and two processes, and then
damages one segment after the other. Needs about 1.3 times --gb of disk, all of which is given back. `RSS` is
the largest sum over the processes of a command, `largest` the largest process (both in MB; pages that they
share count in each).
"""

from __future__ import annotations

import argparse
import gzip
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

SEGMENTS, EXPIRED = 40, 4
ENTRY = 250
_CHUNK = 4 << 20
_AGENT = ["--epoch-key", "file:keys/agent", "--checkpoint-key", "file:keys/agent"]
_VERIFY = ["--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor"]
_PROGRAM = str(Path(sys.executable).parent / "epochseal")


def main() -> None:
    """Make the log, measure, print a table; exit 1 if a verdict is not what it must be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gb", type=float, default=10, help="gigabytes of entries")
    parser.add_argument("--dir", type=Path, default=None, help="where to work")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as folder:
        os.chdir(folder)
        # What agents and verifications remember goes with the folder.
        os.environ["XDG_STATE_HOME"] = str(Path.cwd() / "state")
        size = int(arguments.gb * 1e9) // SEGMENTS
        print(f"{arguments.gb:g} GB in {SEGMENTS} segments of {size / 1e6:.0f} MB, {os.cpu_count()} cores")
        print(f"{'':44}{'wall s':>8}{'CPU s':>8}{'RSS':>6}{'largest':>9}  result")
        _make(size)
        wrong = [name for name, status, wanted in _verify_all() if status != wanted]
        os.chdir("/")
    if wrong:
        sys.exit(f"not as it must be: {', '.join(wrong)}")


# --- making it ------------------------------------------------------------------------------------------


def _make(segment: int) -> None:
    _measured("make keys", [_PROGRAM, "keygen", "keys"])
    old, rest = EXPIRED * segment, (SEGMENTS - EXPIRED) * segment - segment // 2
    _measured("seal the part that will expire", _sealing(segment), lambda pipe: _feed(pipe, old, 1))
    time.sleep(3)
    between = time.time()
    time.sleep(3)
    _measured("seal the rest", _sealing(segment), lambda pipe: _feed(pipe, rest, 2))
    keep = f"{int((time.time() - between) * 1000)}ms"
    _measured("prune", [_PROGRAM, "prune", "log", "--keep", keep, *_AGENT])
    logs = sorted(Path("log/segments").glob("*.log"))
    names = "\n".join(str(path) for path in logs[:-1:2]).encode()
    words = ["xargs", "-n1", "-P2", "gzip", "-1"]
    _measured("gzip -1 of every second segment", words, lambda pipe: _write(pipe, names))
    size = sum(path.stat().st_size for path in Path("log/segments").iterdir())
    print(f"{'on disk':44}{size / 1e9:8.2f} GB")


def _sealing(segment: int) -> list[str]:
    return [_PROGRAM, "seal", "log", "--origin", "example.com/big", *_AGENT, "--segment-bytes", f"{segment}B"]


def _feed(pipe: IO[bytes], size: int, seed: int) -> None:
    """Entries of which no two megabytes are the same; they compress about as logs do."""
    chance = random.Random(seed)
    lines = [
        b"user=%08x action=read object=/accounts/%06d result=allowed session=%016x "
        % (chance.getrandbits(32), chance.randrange(10**6), chance.getrandbits(64))
        for _ in range(_CHUNK // ENTRY)
    ]
    chunk = bytearray(b"".join(line.ljust(ENTRY - 1, b".") + b"\n" for line in lines))
    for number in range(-(-size // len(chunk))):
        chunk[ENTRY - 17 : ENTRY - 1] = b"%016d" % number
        _write(pipe, chunk[: min(len(chunk), (size - number * len(chunk)) // ENTRY * ENTRY)])


def _write(pipe: IO[bytes], data: bytes | bytearray) -> None:
    pipe.write(data)


# --- verifying it ---------------------------------------------------------------------------------------


def _verify_all() -> Iterator[tuple[str, int, int]]:
    for jobs in ("1", "2"):
        name = f"verify --jobs {jobs}"
        yield name, _verify(name, "--jobs", jobs), 0
    name = "verify --jobs 2, public key alone"
    yield name, _measured(name, [_PROGRAM, "verify", "log", *_VERIFY[2:], "--jobs", "2"]), 0
    logs = sorted(Path("log/segments").glob("*.log.gz"))
    for name, attack in ATTACKS.items():
        with attack(logs[2], logs[5]):
            yield name, _verify(name), 1
    yield "all put back", _verify("all put back"), 0


def _verify(name: str, *options: str) -> int:
    return _measured(name, [_PROGRAM, "verify", "log", *_VERIFY, *options])


@contextmanager
def _missing(one: Path, _two: Path) -> Iterator[None]:
    pair = (one, _seal_of(one))
    for path in pair:
        path.rename(path.name)
    yield
    for path in pair:
        Path(path.name).rename(path)


@contextmanager
def _exchanged(one: Path, two: Path) -> Iterator[None]:
    _exchange(one, two)
    yield
    _exchange(one, two)


@contextmanager
def _renamed(one: Path, _two: Path) -> Iterator[None]:
    pair = (one, _seal_of(one))
    other = [path.with_name(f"{path.name[:7]}20200101T000000Z{path.name[23:]}") for path in pair]
    for path, name in zip(pair, other, strict=True):
        path.rename(name)
    yield
    for path, name in zip(pair, other, strict=True):
        name.rename(path)


@contextmanager
def _other_bytes(one: Path, _two: Path) -> Iterator[None]:
    kept = one.rename(one.name)
    with gzip.open(kept) as source, gzip.open(one, "wb", 1) as target:
        first = source.read(1 << 20)
        target.write(first[:1000] + bytes([first[1000] ^ 1]) + first[1001:])
        shutil.copyfileobj(source, target, 1 << 20)
    yield
    kept.rename(one)


@contextmanager
def _plain_beside(one: Path, _two: Path) -> Iterator[None]:
    plain = one.with_suffix("")
    with gzip.open(one) as source, plain.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    yield
    plain.unlink()


ATTACKS = {
    "one segment missing": _missing,
    "two log files exchanged": _exchanged,
    "one segment renamed": _renamed,
    "one re-compressed with another byte": _other_bytes,
    "a .log beside its .log.gz": _plain_beside,
}


def _seal_of(log: Path) -> Path:
    return log.with_name(log.name.replace(".log.gz", ".seal"))


def _exchange(one: Path, two: Path) -> None:
    between = one.rename(one.name)
    two.rename(one)
    between.rename(two)


# --- measuring ------------------------------------------------------------------------------------------


def _measured(name: str, words: Sequence[str], feed: Callable[[IO[bytes]], None] | None = None) -> int:
    """Run a command and print its line of the table; its exit status."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(words, stdin=subprocess.PIPE, stdout=said, stderr=said) as process,
    ):
        tree = _Tree(process.pid)
        if process.stdin is not None:
            if feed is not None:
                feed(process.stdin)
            process.stdin.close()
        status = process.wait()
        tree.stop()
        said.seek(0)
        text = said.read().decode()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = next(
        (line.split(": ", 1)[1] for line in text.splitlines() if ": " in line and line.startswith("  ")), ""
    )
    result = f"{status} {text.split(maxsplit=1)[0] if words[1] == 'verify' else ''} {found}"
    print(
        f"{name:44}{time.monotonic() - began:8.1f}{cpu:8.1f}"
        f"{tree.total / 1e6:6.0f}{tree.largest / 1e6:9.0f}  {result}",
        flush=True,
    )
    return status


class _Tree:
    """The memory of a process and its descendants, looked at twenty times a second."""

    def __init__(self, pid: int) -> None:
        self.total = self.largest = 0
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> None:
        """The process has ended."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            sizes = [_resident(pid) for pid in _descendants(self._pid)]
            self.total, self.largest = max(self.total, sum(sizes)), max(self.largest, *sizes, 0)


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text()
        except OSError:
            continue
        for child in children.split():
            found += _descendants(int(child))
    return found


def _resident(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS")), 0)


if __name__ == "__main__":
    main()
