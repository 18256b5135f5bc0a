"""Goes on with a closed log, and names a checkpoint key of the thief's own in it."""

from __future__ import annotations

from epochseal_backends.file import backend as file
from tests.attacks.access import Access
from tests.attacks.attack import Attack, main
from tests.attacks.forger import Forger
from tests.attacks.scene import MEMORIES, MODES, Scene
from tests.integration.key_services import Role


def carry_out(scene: Scene) -> None:
    """The pins stay where they were, and the honest agent goes on."""
    scene.seal("one", "two", "three")
    scene.remember()
    scene.reboot()
    file.generate(scene.folder / "thief")
    own = f"file:{scene.folder / 'thief' / 'agent'}"
    thief = Access(Role(own, own, {}))
    forger = Forger.after(scene.log, scene.agent_access, scene.agent_access)
    forger.begin("cold").block(b"from the thief\n")
    forger.take_over(scene.agent_access, thief)
    forger.block(b"and more\n").close()
    for mode in MODES:
        scene.expect("behind the thief", 3, "cold_start", mode=mode)
        scene.expect("behind the thief", 3, "cold_start", mode=mode, memory="log id")
        for memory in MEMORIES[:2]:
            scene.expect("behind the thief", 4, "cold_start", "unknown_key", mode=mode, memory=memory)
    pinned = "".join(path.read_text() for path in scene.folder.rglob("*.trust"))
    scene.expect_true("the pins are where they were", thief.vkey(forger.origin) not in pinned)
    said = scene.seal("four")
    scene.expect_said("the honest agent goes on", said, "cold")
    for mode in MODES:
        scene.expect("behind the honest agent", 4, "cold_start", mode=mode)
        scene.expect(
            "behind the honest agent", 4, "cold_start", "unknown_key", mode=mode, memory="trust file"
        )


ATTACK = Attack(
    attacker="stole the agent's credential, and writes to the files",
    holds="the agent's access (issue, sign), write access to the log directory, a checkpoint key of its own",
    did="went on with a closed log by an epoch without the carry, and rotated the checkpoint key to their "
    "own in it",
    before="verified with --trust (0); the pin moved to the thief's key, and the honest agent then refused "
    "to start",
    carry_out=carry_out,
    backends=("file", "vault", "pkcs11"),
)

if __name__ == "__main__":
    main(ATTACK)
