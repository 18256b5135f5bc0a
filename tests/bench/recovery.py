"""What it costs to recover the secrets of a log: `python -m tests.bench.recovery [EPOCHS [BACKEND…]]`.

A log of so many epochs (1,000) is sealed with a service that runs for it, OpenBao over TLS, moto's KMS or
SoftHSM, and verified twice: with one secret a call, and as it is done. Printed for each: seconds of the
verification, seconds in the backend, calls.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from epochseal.errors import BackendError
from epochseal.keys import Recoverer, WrappedSecret, load_backend, parse_key_uri
from epochseal.verifier import Request, epoch_secrets, verify
from tests.integration.agents import PROGRAM
from tests.integration.key_services import BACKENDS, ORIGIN, Role, key_service

_PATIENCE = 3600.0


class _Timed:
    """A recoverer that is watched: how often it is asked, and how long it takes."""

    def __init__(self, recoverer: Recoverer) -> None:
        self._recoverer = recoverer
        self.calls, self.secrets, self.seconds = 0, 0, 0.0

    def recover_many(self, asked: Sequence[WrappedSecret], into: memoryview) -> list[BackendError | None]:
        """As the backend does."""
        begun = time.monotonic()
        errors = self._recoverer.recover_many(asked, into)
        self.seconds += time.monotonic() - begun
        self.calls += 1
        self.secrets += len(asked)
        return errors

    def recognizes(self, key_id: str) -> bool:
        """As the backend does."""
        return self._recoverer.recognizes(key_id)


@contextmanager
def _environment(role: Role) -> Iterator[None]:
    with mock.patch.dict(os.environ, role.env):
        yield


def _seal(logdir: Path, agent: Role, epochs: int) -> None:
    subprocess.run(
        [PROGRAM, "seal", str(logdir), "--origin", ORIGIN, *agent.keys, "--epoch-max-entries", "1"],
        input=b"".join(b"entry %d\n" % number for number in range(epochs)),
        env={**agent.env, "XDG_STATE_HOME": str(logdir.parent / "state")},
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=_PATIENCE,
    )


def _verify(logdir: Path, role: Role, ahead: int) -> str:
    uri = parse_key_uri(role.epoch)
    settings = {} if uri.family is None else role.settings(uri.family)
    timed = _Timed(load_backend(uri).recoverer(uri, settings))
    public = load_backend(uri).public_key(parse_key_uri(role.checkpoint), settings)
    with mock.patch.object(epoch_secrets, "FETCHED", ahead):
        begun = time.monotonic()
        verdict = verify(logdir, Request(make_recoverer=lambda: timed, checkpoint_key=public))
        seconds = time.monotonic() - begun
    if verdict.verdict != "verified" or timed.secrets < verdict.epochs:
        sys.exit(f"the log is {verdict.verdict}: {verdict.problems[:1]}")
    return (
        f"{verdict.epochs} epochs, {ahead} a call: {seconds:.2f} s, {timed.seconds:.2f} s of them in "
        f"{timed.calls} calls of the backend"
    )


def main() -> None:
    """Print the lines."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for name in sys.argv[2:] or BACKENDS:
        with tempfile.TemporaryDirectory() as folder, key_service(name, Path(folder)) as service:
            logdir = Path(folder) / "log"
            begun = time.monotonic()
            _seal(logdir, service.agent, epochs)
            print(f"{name}: sealed in {time.monotonic() - begun:.0f} s", flush=True)
            with _environment(service.verifier):
                for ahead in (1, 100):
                    print(f"{name}: {_verify(logdir, service.verifier, ahead)}", flush=True)


if __name__ == "__main__":
    main()
