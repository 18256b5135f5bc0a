"""An agent with one socket source, as a process of its own: `python socket_agent.py JSON`.

It prints where it listens once it does, and closes the log at SIGTERM. `bounds` of the JSON replaces
constants of the sources.
"""

from __future__ import annotations

import json
import logging
import resource
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from epochseal.keys import parse_key_uri
from epochseal.service.commit_loop import CommitLoop
from epochseal.service.launch import SealOptions, sealing
from epochseal.service.signals import Signals
from epochseal.sources import admission, entrance, replies, stream_server, syslog
from epochseal.sources.datagrams import DatagramSource
from epochseal.sources.internet_endpoint import InternetEndpoint
from epochseal.sources.stream_server import StreamServer
from epochseal.sources.syslog import TlsFiles, open_syslog, open_syslog_udp
from epochseal.sources.unix import open_datagrams, open_stream


def main(settings: dict[str, Any]) -> None:
    """Seal what comes in until SIGTERM."""
    logging.basicConfig(stream=sys.stderr, format="%(levelname)s %(message)s")
    for name, value in settings.get("bounds", {}).items():
        # A test does not wait for a minute, nor fill the real bounds.
        for module in (stream_server, admission, entrance, replies, syslog):
            if hasattr(module, name):
                setattr(module, name, value)
    if "descriptors" in settings:
        resource.setrlimit(resource.RLIMIT_NOFILE, (settings["descriptors"],) * 2)
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
        endpoint = source.endpoint
        where = endpoint.address[1] if isinstance(endpoint, InternetEndpoint) else settings["path"]
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


def _source(settings: dict[str, Any]) -> StreamServer | DatagramSource:
    limits = {
        "block_bytes": settings.get("block_bytes", 64 << 10),
        "max_entry_bytes": settings.get("max_entry_bytes", 1 << 20),
    }
    kind, path, mode = settings["kind"], Path(settings.get("path", "")), settings.get("mode", 0o600)
    framing = settings.get("framing", "auto")
    if kind == "unix-stream":
        return open_stream(path, mode=mode, acks=settings.get("acks", True), framing=framing, **limits)
    if kind == "unix-datagram":
        return open_datagrams(path, mode=mode, **limits)
    if kind == "syslog-udp":
        return open_syslog_udp("127.0.0.1:0", **limits)
    files = settings.get("tls")
    tls = TlsFiles(**{name: Path(path) for name, path in files.items()}) if files else None
    return open_syslog("127.0.0.1:0", tls=tls, framing=framing, **limits)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
