"""What a verifier holds of a log's keys while it works: those of the epoch that it is at, and no other."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.agents import PROGRAM
from tests.memory.log_keys import Recovered, keys_of_log
from tests.memory.protection import find_gaps
from tests.memory.running import ROOT, Backend, changed, index_of
from tests.memory.scanner import scan, stopped

FULL = os.environ.get("EPOCHSEAL_FULL") == "1"
LOOKS = 4


@pytest.mark.parametrize("name", ["file", "vault", "aws", "pkcs11"])
def test_no_key_of_a_finished_epoch(tmp_path: Path, request: pytest.FixtureRequest, name: str) -> None:
    """Held still at several moments: keys of one epoch at most, and those are seen where its page can be.

    The secret itself is another matter: most libraries return it as an object, whose memory is given back but
    not wiped, so that some of epochs before may still lie there (docs/limitations.md). A token returns none.
    Those of epochs to come are in a locked page: they are fetched ahead, and wiped as they are taken.
    """
    backend: Backend = request.getfixturevalue(f"{name}_backend")
    # While a key service is asked no key of an epoch is there to be seen: longer epochs are, and fewer do.
    epochs, blocks = (50, 400) if FULL or name == "file" else (20, 1500)
    log = tmp_path / "log"
    entries = b"".join(b"%099d\n" % number for number in range(epochs * blocks))
    sealing = [PROGRAM, "seal", str(log), "--origin", "log.example/memory", *backend.agent]
    options = ["--epoch-max-entries", str(blocks), "--block-bytes", "100"]
    subprocess.run([*sealing, *options], input=entries, check=True, env={**os.environ, **backend.environment})
    keys = keys_of_log(log, Recovered(backend.recoverer))
    index, epochs_of = index_of(keys), {key.name: key.epoch for key in keys}
    verifying = [*changed("no memfd_secret"), "verify", str(log), "--jobs", "1", *backend.verifier]
    environment = {**os.environ, **backend.verifier_environment}
    gaps: list[str] = []
    seen: list[set[int]] = []
    left: list[set[int]] = []
    reached = -1
    with subprocess.Popen(verifying, stdout=subprocess.DEVNULL, cwd=ROOT, env=environment) as process:
        while not _reads_entries(process.pid):
            assert process.poll() is None
        # A look between two epochs sees nothing: there must be one that does.
        while process.poll() is None and (len(seen) < LOOKS or not any(seen)):
            with stopped(process.pid) as pids:
                found = scan(pids, index)
                # Behind the last epoch its page has gone, as it should.
                gaps += find_gaps(pids) if _reads_entries(process.pid) else []
            secrets = {hit.key for hit in found.hits if hit.key.startswith("secret of epoch ")}
            seen.append({epochs_of[hit.key] for hit in found.hits if hit.key not in secrets})
            reached = max(seen[-1], default=reached)
            left.append({epochs_of[key] for key in secrets if epochs_of[key] < reached})
            time.sleep(0.02)
    assert process.returncode == 0
    assert gaps == []
    assert all(len(epochs) <= 1 for epochs in seen), seen
    most = {"pkcs11": 1, "file": 2}.get(name, epochs)
    assert all(len(secrets) <= most for secrets in left), left
    assert any(seen), seen


def _reads_entries(pid: int) -> bool:
    """Whether the process has a log file open: it is among the epochs."""
    try:
        return any(path.readlink().suffix == ".log" for path in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
