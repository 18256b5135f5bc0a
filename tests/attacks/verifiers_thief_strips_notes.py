"""Rewrites a closed log with right tags, and has the agent's next start stand before it."""

from __future__ import annotations

from tests.attacks.attack import Attack, main
from tests.attacks.forger import read_lines, rewrite
from tests.attacks.scene import MEMORIES, Scene

ENTRIES = tuple(f"user=alice action=transfer amount={amount}" for amount in range(100, 112))
FORGED = 9


def _change(number: int, entry: bytes) -> bytes:
    return entry.replace(b"alice", b"mallory") if number == FORGED else entry


def _rewrite(scene: Scene) -> None:
    """Everything but line 0 where anybody can wrap; the last epoch where the service alone does."""
    everybody_wraps = not scene.service.agent.epoch.startswith(("hashivault", "awskms"))
    last = max(line["index"] for line in read_lines(scene.log) if line["kind"] == "epoch")
    rewrite(
        scene.log,
        _change,
        issues=scene.agent_access if everybody_wraps else None,
        recovers=scene.verifier_access,
        first=1 if everybody_wraps else last + 1,
    )


def carry_out(scene: Scene) -> None:
    """Before the next start; then behind it, on a host that kept its state directory and on one that lost it."""
    scene.seal(*ENTRIES, options=("--epoch-max-entries", "4", "--block-bytes", "1B"))
    scene.remember()
    scene.reboot()
    with scene.copy():
        _rewrite(scene)
        scene.expect("before the next start", 4, "epoch_unsigned", "close_unsigned")
        for memory in ("known logs", "trust file"):
            scene.expect("before the next start", 1, memory=memory)
    with scene.copy():
        _rewrite(scene)
        said = scene.seal("after the reboot")
        scene.expect_said("state directory kept", said, "tampered")
        for mode in ("keys", "public"):
            scene.expect("state directory kept", 1, "tampered_at_start", mode=mode)
        scene.expect_proof("state directory kept", FORGED, 3)
    scene.lose_state()
    with scene.copy():
        _rewrite(scene)
        scene.seal("after the reboot")
        scene.expect("state directory lost", 4, "epoch_unsigned", "cold_start")
        scene.expect("state directory lost", 4 if everybody else 3, "cold_start", "unvouched", mode="public")
        for memory in MEMORIES:
            scene.expect("state directory lost", 4 if memory == "log id" else 1, memory=memory)
        scene.expect_proof("state directory lost", FORGED, 3)


ATTACK = Attack(
    attacker="stole the verifier's credential, and writes to the files of a closed log",
    holds="the verifier's access (recover), write access to the log directory; of the wrapping key the public half, "
    "where it has one",
    did="rewrote everything but line 0 (with OpenBao: the last epoch) with right tags, stripped the later notes, and waited "
    "for the agent's next start",
    before="the honest agent signed it: verified with all keys (0)",
    carry_out=carry_out,
    backends=("file", "vault", "pkcs11"),
)

if __name__ == "__main__":
    main(ATTACK)
