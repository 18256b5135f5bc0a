"""Superseded keys in an agent's memory after so many entries, beside what was measured of another log sealer.

    python -m tests.bench.keys_left                  # 100 and 100,000 entries, each in a commit of its own
    python -m tests.bench.keys_left 100 10000

Every key that the sealing ever made is looked for in every form (tests/memory/patterns.py), in every process
of the agent, from outside. The figures of Acra 0.96 are quoted: they were counted in the same way.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from epochseal.keys import load_backend, parse_key_uri
from epochseal_backends.file import backend as file
from tests.memory.running import Backend, Watched, key_options

_ACRA = {100: "100 (all)", 100_000: "140"}


def main(counts: list[int]) -> None:
    """Seal, look, print."""
    titles = f"{'entries':>9} {'keys made':>10} {'superseded found':>17} {'live found':>11} {'seconds':>8}"
    print(f"{titles}  Acra 0.96")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), count)


def _measure(folder: Path, count: int) -> None:
    file.generate(folder / "keys")
    uri, verifier = f"file:{folder / 'keys/agent'}", parse_key_uri(f"file:{folder / 'keys/verifier'}")
    recoverer = load_backend(verifier).recoverer(verifier, {})
    backend = Backend(key_options(uri, uri), (), recoverer)
    began = time.monotonic()
    # Without memfd_secret, so that the page itself can be looked into, and the live key be found.
    state, epoch = ("--state-dir", str(folder / "state")), max(count // 50, 20)
    with Watched(folder, backend, *state, change="no memfd_secret", epoch=epoch) as watched:
        watched.commit(count)
        look = watched.look_at_rest()
        watched.agent.stop()
    took = time.monotonic() - began
    theirs = _ACRA.get(count, "-")
    print(
        f"{count:>9,} {look.keys:>10,} {len(look.superseded):>17} {len(look.live):>11} {took:>8.1f}  {theirs}"
    )


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]] or [100, 100_000])
