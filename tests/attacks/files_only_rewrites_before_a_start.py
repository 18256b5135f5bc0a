"""Rewrites entries of a stopped log, and leaves the rest to the agent's next start."""

from __future__ import annotations

from tests.attacks.attack import Attack, main
from tests.attacks.forger import read_lines, rewrite
from tests.attacks.scene import MEMORIES, MODES, Scene

ENTRIES = tuple(f"user=alice action=transfer amount={amount}" for amount in range(100, 112))
FORGED = 9


def _change(number: int, entry: bytes) -> bytes:
    return entry.replace(b"alice", b"mallory") if number == FORGED else entry


def carry_out(scene: Scene) -> None:
    """Once on a host that kept its state directory through a reboot, once on one that lost it too."""
    scene.seal(*ENTRIES, options=("--epoch-max-entries", "4", "--block-bytes", "1B"))
    scene.remember()
    scene.reboot()
    with scene.copy() as log:
        rewrite(log, _change, close=False)
        said = scene.seal("after the reboot")
        scene.expect_said("state directory kept", said, "the log is not what it was")
        for mode in MODES:
            scene.expect("state directory kept", 1, "tampered_at_start", mode=mode)
        scene.expect_proof("state directory kept", FORGED, 3)
    last = max(line["index"] for line in read_lines(scene.log) if line["kind"] == "epoch")
    for name, first, status in (("state directory lost", 1, 4), ("the same, last epoch only", last + 1, 3)):
        scene.lose_state()
        with scene.copy() as log:
            rewrite(log, _change, first=first, close=False)
            scene.seal("after the reboot")
            scene.expect(name, 1, "line_altered")
            scene.expect(name, status, "cold_start", "unvouched", mode="public")
            scene.expect(name, status, "cold_start", mode="public", memory="log id")
            for memory in MEMORIES[:2]:
                scene.expect(name, 1, "forked", mode="public", memory=memory)
            scene.expect_proof(name, FORGED, 3)


ATTACK = Attack(
    attacker="writes to files only, while the log is closed or its agent was killed without a page",
    holds="write access to the log directory",
    did="rewrote entries that stood under checkpoints, with random tags; dropped the notes and the close; "
    "waited for the agent's next start",
    before="the start signed it all: prove and check-proof accepted the forgery (0), and the verdict with "
    "the public key was that of a harmless crash (3, incomplete)",
    carry_out=carry_out,
    backends=("file", "vault", "pkcs11"),
)

if __name__ == "__main__":
    main(ATTACK)
