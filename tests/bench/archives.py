"""Verifying an archive against the same files on disk, and on a Dask cluster that loses a worker.

    python -m tests.bench.archives SIZE_GB FOLDER

Seals so many real bytes, serves them as objects (object_files.py), and prints: CPU of `verify` of the files
and of the archive, in turns, the best of three, and the requests that the store got; and of two Dask workers,
one of which is killed in the middle, beside two local processes, three times: wall, memory of each worker,
and whether all verdicts are the same, byte for byte.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.request import urlopen

from distributed import Client

from epochseal.storage.log_past import checkpoint_name
from tests.bench.object_files import BUCKET

_PROGRAM = str(Path(sys.executable).parent / "epochseal")
_ORIGIN = "example.com/bench"
_READY = re.compile(r"Scheduler at:\s+(tcp://127\.0\.0\.1:[0-9]+)")


def seal(folder: Path, size: int) -> None:
    """A log of so many bytes of entries, of 200 random printable characters each."""
    subprocess.run([_PROGRAM, "keygen", folder / "keys"], check=True, stdout=subprocess.DEVNULL)
    agent = f"file:{folder / 'keys' / 'agent'}"
    words = [
        "seal",
        str(folder / "log"),
        "--origin",
        _ORIGIN,
        "--epoch-key",
        agent,
        "--checkpoint-key",
        agent,
    ]
    words += ["--epoch-interval", "10s", "--state-dir", "none"]
    lines = random.Random(1).randbytes(48 << 20).hex().encode()
    piece = b"".join(lines[at : at + 200] + b"\n" for at in range(0, len(lines), 200))
    with subprocess.Popen([_PROGRAM, *words], stdin=subprocess.PIPE) as sealer:
        assert sealer.stdin is not None
        for number in range(0, size, len(piece)):
            sealer.stdin.write(b"piece %d\n" % number + piece)
        sealer.stdin.close()
        assert sealer.wait() == 0


def verify(folder: Path, place: str, environ: Mapping[str, str], *more: str) -> tuple[float, float, bytes]:
    """CPU and wall of a verification in seconds, and what it printed."""
    roles = folder / "keys"
    words = [_PROGRAM, "verify", place, "--epoch-key", f"file:{roles / 'verifier'}", "--json"]
    words += ["--checkpoint-key", f"file:{roles / 'auditor'}", "--trust", "none", "--max-age", "9999d"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run([*words, *more], env=dict(environ), capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stdout + done.stderr
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, time.monotonic() - began, done.stdout


def on_cluster(
    folder: Path, url: str, environ: Mapping[str, str], half: int
) -> tuple[float, list[int], bytes]:
    """Wall in s, peaks of both workers' memory in MB, the verdict; one is killed after `half` ranges."""
    with ExitStack() as stack:
        dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
        scheduler = stack.enter_context(
            subprocess.Popen(
                [*dask, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"],
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stack.callback(scheduler.terminate)
        assert scheduler.stderr is not None
        address = next(found[1] for line in scheduler.stderr if (found := _READY.search(line)))
        dask = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--no-dashboard"]
        dask += ["--nthreads", "1", "--no-nanny", "--local-directory", str(folder / "dask")]
        workers = []
        for _ in range(2):
            worker = stack.enter_context(subprocess.Popen(dask, env=dict(environ), stderr=subprocess.DEVNULL))
            stack.callback(worker.terminate)
            workers.append(worker)
        with Client(address, set_as_default=False) as client:  # type: ignore[no-untyped-call]  # it has no types
            client.wait_for_workers(len(workers))
        at = requests(environ)["ranges"] + half
        began, peaks = time.monotonic(), [0, 0]
        asked = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.archives", "verify", folder, url, address],
            env=dict(environ),
            stdout=subprocess.PIPE,
        )
        while asked.poll() is None:
            for number, worker in enumerate(workers):
                peaks[number] = max(peaks[number], _peak(worker.pid))
            if workers[0].poll() is None and requests(environ)["ranges"] >= at:
                os.kill(workers[0].pid, signal.SIGKILL)
                workers[0].wait()
            time.sleep(0.1)
        took = time.monotonic() - began
        assert asked.stdout is not None
        output = asked.stdout.read()
        assert workers[0].poll() == -signal.SIGKILL, "the log was verified before a worker could be killed"
        return took, peaks, output


def requests(environ: Mapping[str, str]) -> Counter[str]:
    """How many lists and ranges the store was asked for so far."""
    with urlopen(environ["AWS_ENDPOINT_URL"]) as answer:  # noqa: S310  # our server
        return Counter(json.load(answer))


def _peak(pid: int) -> int:
    try:
        found = re.search(r"VmHWM:\s+([0-9]+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found[1]) // 1024 if found else 0


def main(size: int, folder: Path) -> None:
    """Print the table."""
    folder.mkdir(parents=True)
    try:
        seal(folder, size)
        files = [sys.executable, "-m", "tests.bench.object_files", str(folder)]
        with subprocess.Popen(files, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                port = server.stdout.readline().strip()
                environ = {
                    **os.environ,
                    "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
                    "AWS_ACCESS_KEY_ID": "any",
                    "AWS_SECRET_ACCESS_KEY": "any",
                    "AWS_REGION": "eu-west-1",
                }
                _measure(folder, environ)
            finally:
                server.terminate()
    finally:
        shutil.rmtree(folder)


def _measure(folder: Path, environ: Mapping[str, str]) -> None:
    log, url = str(folder / "log"), f"s3://{BUCKET}/log"
    files = list((folder / "log" / "segments").iterdir())
    segments = len(files) // 2
    size = sum(path.stat().st_size for path in files)
    note = (folder / "log" / "checkpoint").read_bytes()
    (folder / "log" / "checkpoints").mkdir()
    name = checkpoint_name(int(note.split(b"\n")[1]))
    (folder / "log" / "checkpoints" / name).write_bytes(note)
    here, there, asked, verdicts = [], [], Counter[str](), set()
    for _ in range(3):
        cpu, _, output = verify(folder, log, environ, "--jobs", "1")
        here.append(cpu)
        before = requests(environ)
        cpu, _, other = verify(folder, url, environ, "--jobs", "1")
        there.append(cpu)
        asked = requests(environ) - before
        verdicts |= {output, other}
    print(
        f"{segments} segments, {size / 1e9:.2f} GB; CPU s of files {min(here):.2f}, of the archive", end=" "
    )
    print(f"{min(there):.2f}: {min(there) / min(here):.2f} times; requests {dict(asked)}", end=": ")
    print(f"{asked['ranges'] / segments:.1f} ranges a segment, one for {size / asked['ranges'] / 1e6:.2f} MB")
    walls = []
    for _ in range(3):
        _, wall, output = verify(folder, log, environ, "--jobs", "2")
        took, peaks, other = on_cluster(folder, url, environ, asked["ranges"] // 2)
        verdicts |= {output, other}
        walls.append((took / wall, took, wall, peaks))
    for ratio, took, wall, peaks in walls:
        print(
            f"two workers, one killed: {took:.1f} s, --jobs 2 of files {wall:.1f} s: {ratio:.2f} times;",
            end="",
        )
        print(f" peaks of the workers {peaks} MB")
    print(f"all {6 + 2 * len(walls)} verdicts equal, byte for byte: {len(verdicts) == 1}")


if __name__ == "__main__":
    if sys.argv[1] == "verify":
        _, place, archive, scheduler = sys.argv[1:]
        found = verify(Path(place), archive, os.environ, "--scheduler", scheduler)
        sys.stdout.buffer.write(found[2])
    else:
        main(int(float(sys.argv[1]) * 1e9), Path(sys.argv[2]))
