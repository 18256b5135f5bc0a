"""Deletes what was promised to be kept, behind a prune line of the thief's own."""

from __future__ import annotations

from tests.attacks.attack import Attack, main
from tests.attacks.forger import Forger, read_lines
from tests.attacks.scene import MEMORIES, MODES, Scene
from tests.reference.maker import Pace


def carry_out(scene: Scene) -> None:
    """All segments of the honest agent go; the thief's own, without retention, is left."""
    scene.seal_configured(*map(str, range(8)), epoch_max_entries="4", retention='"90d"')
    scene.remember()
    honest = sorted((scene.log / "segments").iterdir())
    forger = Forger.after(scene.log, scene.agent_access, scene.agent_access)
    forger.pace = Pace(forger.pace.heartbeat, forger.pace.interval, forger.pace.max_overdue, retention=0)
    kept = forger.segment
    forger.begin("cold")
    head = [line for line in read_lines(scene.log) if line["kind"] == "epoch"][-1]
    forger.prune(head, kept).sign().note()
    forger.block(b"nothing happened before\n").close()
    for path in honest:
        path.unlink()
    for mode in MODES:
        scene.expect("behind the thief", 3, "cold_start", mode=mode)
        scene.expect("behind the thief, --strict", 3, "cold_start", mode=mode, options=("--strict",))
        scene.expect("behind the thief", 3, "cold_start", "beginning_unproven", mode=mode, memory="log id")
        for memory in MEMORIES[:2]:
            scene.expect("behind the thief", 1, "retention_broken", mode=mode, memory=memory)


ATTACK = Attack(
    attacker="stole the agent's credential, and writes to the files",
    holds="the agent's access (issue, sign), write access to the log directory",
    did="added a segment with a prune line and no retention, and deleted the 90 days that were promised",
    before="verified, also with --strict (0)",
    carry_out=carry_out,
    backends=("file", "vault", "pkcs11"),
)

if __name__ == "__main__":
    main(ATTACK)
