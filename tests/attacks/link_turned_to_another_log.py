"""Turns the link that names the log to a log of their own."""

from __future__ import annotations

from epochseal_backends.file import backend as file
from tests.attacks.access import Access
from tests.attacks.attack import Attack, main
from tests.attacks.forger import Forger
from tests.attacks.scene import MODES, Scene
from tests.integration.key_services import ORIGIN, Role


def carry_out(scene: Scene) -> None:
    """The other log is signed by the stolen credential, and then by keys of their own."""
    (scene.folder / "true").mkdir()
    scene.log.symlink_to("true")
    scene.seal("one", "two", "three")
    scene.remember()
    scene.reboot()
    state = scene.host_state()
    _turn(scene, "false", scene.agent_access)
    for mode in MODES:
        scene.expect("before the next start", 4, "other_log", mode=mode, memory="known logs")
        scene.expect("before the next start", 1, "log_replaced", mode=mode, memory="trust file")
        scene.expect("before the next start", 4, "wrong_log", mode=mode, memory="log id")
    said = scene.seal("four")
    scene.expect_said("behind the next start", said, "the log is not what it was")
    for mode in MODES:
        scene.expect("behind the next start", 1, "tampered_at_start", mode=mode)
        scene.expect("behind the next start", 1, "other_log", mode=mode, memory="known logs")
    scene.reboot()
    scene.put_back(b"", state)
    file.generate(scene.folder / "thief")
    own = f"file:{scene.folder / 'thief' / 'agent'}"
    _turn(scene, "another", Access(Role(own, own, {})))
    said = scene.seal("four")
    scene.expect_said("with keys of their own", said, "the log is not what it was")
    for mode in MODES:
        scene.expect("with keys of their own", 1, "tampered_at_start", mode=mode)


def _turn(scene: Scene, name: str, access: Access) -> None:
    forger = Forger(scene.folder / name, ORIGIN, access, access)
    forger.time = scene.now()
    forger.begin("genesis").block(b"nothing\n").close()
    scene.log.unlink()
    scene.log.symlink_to(name)


ATTACK = Attack(
    attacker="stole the agent's credential, and may replace the link by which log and state are named",
    holds="the agent's access (issue, sign), write access to the folder of the link",
    did="made another log of the same origin, and turned the link to it while the agent was stopped",
    before="the agent went on with the other log as if it were its own: verified (0)",
    carry_out=carry_out,
)

if __name__ == "__main__":
    main(ATTACK)
