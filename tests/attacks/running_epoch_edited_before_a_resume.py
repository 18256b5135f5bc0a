"""Edits lines of the running epoch, byte for byte, while the agent is down."""

from __future__ import annotations

import base64
import hashlib

from tests.attacks.attack import Attack, main
from tests.attacks.scene import MODES, Scene


def carry_out(scene: Scene) -> None:
    """Entry and digest, so that the files fit each other; then the entry alone."""
    with scene.agent(options=("--block-bytes", "1B")) as agent:
        agent.send(b"user=alice action=transfer amount=1\n", b"user=alice action=transfer amount=2\n")
        agent.send(b"user=alice action=transfer amount=3\n")
        agent.kill()
    page, state = scene.page.read_bytes(), scene.host_state()
    with scene.copy():
        _edit(scene, digest=True)
        said = scene.seal("the honest agent again")
        scene.expect_said("entry and digest", said, "the log is not what it was")
        for mode in MODES:
            scene.expect("entry and digest", 1, "tampered_at_start", mode=mode)
        scene.expect_proof("entry and digest", 1, 3)
    scene.put_back(page, state)
    with scene.copy():
        _edit(scene, digest=False)
        scene.seal("the honest agent again")
        for mode in MODES:
            scene.expect("entry alone", 1, "entries_altered", mode=mode)
        scene.expect_proof("entry alone", 1, 1)


def _edit(scene: Scene, *, digest: bool) -> None:
    (content,) = scene.log.glob("segments/*.log")
    (seal,) = scene.log.glob("segments/*.seal")
    true = b"user=alice action=transfer amount=2\n"
    false = true.replace(b"2", b"9")
    content.write_bytes(content.read_bytes().replace(true, false))
    if digest:
        before, after = (base64.b64encode(hashlib.sha256(entry).digest()) for entry in (true, false))
        seal.write_bytes(seal.read_bytes().replace(before, after))


ATTACK = Attack(
    attacker="writes to files only, while the agent is killed and its page waits for the next start",
    holds="write access to the log directory",
    did="edited an entry and its digest in the running epoch, every file as long as before",
    before="the agent resumed, and its next checkpoint signed the edited line: with the public key the log "
    "was verified (0)",
    carry_out=carry_out,
)

if __name__ == "__main__":
    main(ATTACK)
