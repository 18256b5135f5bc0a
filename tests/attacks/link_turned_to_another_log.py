"""Turns the link that names the log to a log of their own."""

from __future__ import annotations

from tests.attacks.attack import Attack, main
from tests.attacks.forger import Forger
from tests.attacks.scene import MODES, Scene
from tests.integration.key_services import ORIGIN


def carry_out(scene: Scene) -> None:
    """What verifiers say of the link before the agent starts again; then what the agent's start says."""
    (scene.folder / "true").mkdir()
    scene.log.symlink_to("true")
    scene.seal("one", "two", "three")
    scene.remember()
    scene.reboot()
    forger = Forger(scene.folder / "false", ORIGIN, scene.agent_access, scene.agent_access)
    forger.time = scene.now()
    forger.begin("genesis").block(b"nothing\n").close()
    scene.log.unlink()
    scene.log.symlink_to("false")
    for mode in MODES:
        scene.expect("before the next start", 4, "other_log", mode=mode, memory="known logs")
        scene.expect("before the next start", 1, "log_replaced", mode=mode, memory="trust file")
        scene.expect("before the next start", 4, "wrong_log", mode=mode, memory="log id")
    said = scene.seal("four")
    scene.expect_said("behind the next start", said, "the log is not what it was")
    for mode in MODES:
        scene.expect("behind the next start", 1, "tampered_at_start", mode=mode)
        scene.expect("behind the next start", 1, "other_log", mode=mode, memory="known logs")


ATTACK = Attack(
    attacker="stole the agent's credential, and may replace the link by which log and state are named",
    holds="the agent's access (issue, sign), write access to the folder of the link",
    did="made another log of the same origin, and turned the link to it while the agent was stopped",
    before="the agent went on with the other log as if it were its own: verified (0)",
    carry_out=carry_out,
)

if __name__ == "__main__":
    main(ATTACK)
