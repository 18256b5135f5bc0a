"""An agent with one socket source, as a process of its own: `python socket_agent.py JSON`.

It prints where it listens once it does, and closes the log at SIGTERM. `bounds` of the JSON replaces
constants of the sources.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from epochseal.keys import parse_key_uri
from epochseal.service.commit_loop import CommitLoop
from epochseal.service.launch import SealOptions, sealing
from epochseal.service.signals import Signals
from epochseal.sources import connections, syslog
from epochseal.sources.syslog import SyslogSource, TlsFiles
from epochseal.sources.unix import UnixDatagramSource, UnixStreamSource


def main(settings: dict[str, Any]) -> None:
    """Seal what comes in until SIGTERM."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    for name, value in settings.get("bounds", {}).items():
        # A test does not wait for a minute, nor fill the real bounds.
        for module in (connections, syslog):
            if hasattr(module, name):
                setattr(module, name, value)
    key = parse_key_uri(settings["key"])
    options = SealOptions(
        logdir=Path(settings["log"]),
        origin=settings["origin"],
        epoch_key=key,
        checkpoint_key=key,
        epoch_max_entries=settings.get("epoch_max_entries"),
        commit_interval=settings.get("commit_interval", 2),
        runtime_dir=Path(settings["runtime"]) if "runtime" in settings else None,
    )
    with ExitStack() as stack:
        sealer = stack.enter_context(sealing(options))
        signals = stack.enter_context(Signals().installed())
        sealer.start()
        source = _source(settings)
        stack.callback(source.close)
        where = source.address[1] if isinstance(source, SyslogSource) else settings["path"]
        sys.stdout.write(f"{where}\n")
        sys.stdout.flush()
        agent = CommitLoop(
            sealer,
            [source],
            signals,
            commit_interval=options.commit_interval / 1000,
            acknowledge=lambda _entries: None,
        )
        unsealed = agent.run()
    sys.stdout.write(f"unsealed {unsealed}\n")


def _source(settings: dict[str, Any]) -> UnixStreamSource | UnixDatagramSource | SyslogSource:
    longest, block = settings.get("max_entry_bytes", 1 << 20), settings.get("block_bytes", 64 << 10)
    kind, path, mode = settings["kind"], Path(settings.get("path", "")), settings.get("mode", 0o600)
    if kind == "unix-stream":
        acks = settings.get("acks", True)
        return UnixStreamSource(path, mode=mode, acks=acks, block_bytes=block, max_entry_bytes=longest)
    if kind == "unix-datagram":
        return UnixDatagramSource(path, mode=mode, block_bytes=block, max_entry_bytes=longest)
    files = settings.get("tls")
    tls = TlsFiles(**{name: Path(path) for name, path in files.items()}) if files else None
    return SyslogSource("127.0.0.1:0", tls=tls, block_bytes=block, max_entry_bytes=longest)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
