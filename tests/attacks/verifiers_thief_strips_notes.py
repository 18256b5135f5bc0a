"""Rewrites a closed log with right tags, and has the agent's next start stand before it."""

from __future__ import annotations

from tests.attacks.attack import Attack, main
from tests.attacks.forger import read_lines, rewrite
from tests.attacks.scene import MEMORIES, MODES, Scene

ENTRIES = tuple(f"user=alice action=transfer amount={amount}" for amount in range(100, 112))
FORGED = 9


def _change(number: int, entry: bytes) -> bytes:
    return entry.replace(b"alice", b"mallory") if number == FORGED else entry


def _everybody_wraps(scene: Scene) -> bool:
    return not scene.service.agent.epoch.startswith(("hashivault:", "openbao:", "awskms:"))


def _rewrite(scene: Scene) -> None:
    """Everything but line 0 where anybody can wrap; the last epoch where the service alone does."""
    everybody_wraps = _everybody_wraps(scene)
    last = max(line["index"] for line in read_lines(scene.log) if line["kind"] == "epoch")
    rewrite(
        scene.log,
        _change,
        issues=scene.agent_access if everybody_wraps else None,
        recovers=scene.verifier_access,
        first=1 if everybody_wraps else last + 1,
    )


def carry_out(scene: Scene) -> None:
    """Before the next start; then behind it, where the state directory was kept, and where it was lost."""
    status = 4 if _everybody_wraps(scene) else 3
    scene.seal(*ENTRIES, options=("--epoch-max-entries", "4", "--block-bytes", "1B"))
    scene.remember()
    scene.reboot()
    with scene.copy():
        _rewrite(scene)
        scene.expect("before the next start", status, "close_unsigned")
        for memory in MEMORIES[:2]:
            scene.expect("before the next start", 1, memory=memory)
    with scene.copy():
        _rewrite(scene)
        said = scene.seal("after the reboot")
        scene.expect_said("state directory kept", said, "the log is not what it was")
        for mode in MODES:
            scene.expect("state directory kept", 1, "tampered_at_start", mode=mode)
        scene.expect_proof("state directory kept", FORGED, 3)
    scene.lose_state()
    with scene.copy():
        _rewrite(scene)
        scene.seal("after the reboot")
        scene.expect("state directory lost", status, "cold_start")
        scene.expect("state directory lost", status, "cold_start", "unvouched", mode="public")
        for memory in MEMORIES:
            scene.expect("state directory lost", status if memory == "log id" else 1, memory=memory)
        scene.expect_proof("state directory lost", FORGED, 3)


ATTACK = Attack(
    attacker="stole the verifier's credential, and writes to the files of a closed log",
    holds="the verifier's access (recover), write access to the log directory; of the wrapping key the "
    "public half, where it has one",
    did="rewrote everything but line 0 (with OpenBao: the last epoch) with right tags, stripped the later "
    "notes, and waited for the agent's next start",
    before="the honest agent signed it: verified with all keys (0)",
    carry_out=carry_out,
    backends=("file", "vault", "pkcs11"),
)

if __name__ == "__main__":
    main(ATTACK)
