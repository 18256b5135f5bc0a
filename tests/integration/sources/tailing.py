"""An agent that tails, by itself: `python -m tests.integration.sources.tailing LOGDIR KEYS RUNTIME PATH…`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from epochseal.keys import parse_key_uri
from epochseal.sealing.source_positions import read_positions
from epochseal.service.commit_loop import CommitLoop
from epochseal.service.launch import SealOptions, sealing
from epochseal.service.signals import Signals
from epochseal.sources.journal_selection import Selection
from epochseal.sources.journald import JournaldSource
from epochseal.sources.source import Source
from epochseal.sources.tail import TailSource

PATIENCE = 180.0


def main(logdir: str, keys: str, runtime: str, *paths: str) -> None:
    """Seal until SIGTERM."""
    uri = parse_key_uri(f"file:{keys}/agent")
    options = SealOptions(
        logdir=Path(logdir),
        origin="log.example/attacks",
        epoch_key=uri,
        checkpoint_key=uri,
        epoch_max_entries=400,
        segment_bytes=100_000,
        block_bytes=16 << 10,
        runtime_dir=Path(runtime),
    )
    with ExitStack() as stack:
        sealer = stack.enter_context(sealing(options))
        signals = stack.enter_context(Signals().installed())
        sealer.start()
        known = read_positions(options.logdir)
        block, longest = options.block_bytes, options.max_entry_bytes
        if paths[0] == "journal":
            source: Source = JournaldSource(
                Selection(), Path(paths[1]), known, block_bytes=block, max_entry_bytes=longest
            )
        else:
            source = TailSource(paths, known, block_bytes=block, max_entry_bytes=longest)
        stack.callback(source.close)
        CommitLoop(sealer, [source], signals, commit_interval=0.005, acknowledge=lambda _: None).run()


class TailAgent:
    """A running one; killed at the end of its block if it still runs."""

    def __init__(self, logdir: Path, keys: Path, runtime: Path, paths: Sequence[Path | str]) -> None:
        self.logdir = logdir
        self._words = [sys.executable, "-m", "tests.integration.sources.tailing"]
        self._words += map(str, [logdir, keys, runtime, *paths])
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = logdir.with_name("tail.stderr")

    def start(self) -> None:
        """Start it, for the first time or again."""
        with self._stderr.open("ab") as file:
            self._process = subprocess.Popen(self._words, stderr=file, cwd=Path(__file__).parents[3])

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """End it cleanly."""
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0, self.said

    @property
    def said(self) -> str:
        """Its messages so far."""
        return self._stderr.read_text(encoding="utf-8")

    def sealed(self) -> bytes:
        """The entries as they stand in the log files."""
        # A pair that is being made has names with a dot before the number.
        return b"".join(path.read_bytes() for path in sorted(self.logdir.glob("segments/[0-9]*.log")))

    def wait_for(self, done: Callable[[bytes], bool]) -> bytes:
        """Wait until the sealed entries are as they should be; what they are then."""
        deadline = time.monotonic() + PATIENCE
        while not done(found := self.sealed()):
            assert self._process is not None
            assert self._process.poll() is None, self.said
            assert time.monotonic() < deadline, f"{found[-300:]!r} {self.said}"
            time.sleep(0.01)
        return found

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
