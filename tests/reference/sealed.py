"""Random logs that the real agent sealed, for the agreement test."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

from tests.reference.keys import ORIGIN, Keys
from tests.reference.made import MadeLog, remember


def seal_random_log(rng: Random, path: Path, keys: Keys) -> MadeLog:
    """One to three runs of `epochseal seal` with random sizes, each closed or killed."""
    agent = f"file:{keys.directory / 'agent'}"
    program = str(Path(sys.executable).parent / "epochseal")
    command = [
        program,
        "seal",
        str(path),
        "--origin",
        ORIGIN,
        "--epoch-key",
        agent,
        "--checkpoint-key",
        agent,
    ]
    for _ in range(rng.randint(1, 3)):
        options = [f"--epoch-max-entries={rng.randint(1, 30)}", f"--block-bytes={rng.randint(20, 400)}B"]
        options.append(f"--segment-bytes={rng.randint(100, 3000)}B")
        data = b"".join(
            rng.randbytes(rng.randrange(30)).replace(b"\n", b"") + b"\n" for _ in range(rng.randint(0, 60))
        )
        if rng.random() < 0.6:
            data += rng.choice((b"", b"no newline"))
            subprocess.run([*command, *options], input=data, check=True, timeout=60)
            continue
        with subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdin
            process.stdin.write(data)
            process.stdin.flush()
            while not (path / "checkpoint").exists():  # the start is signed
                time.sleep(0.05)
            time.sleep(rng.random())
            process.send_signal(signal.SIGKILL)
    return remember(path, keys, time.time_ns() // 1_000_000)
