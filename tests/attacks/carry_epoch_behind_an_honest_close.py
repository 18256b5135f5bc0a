"""Knows the carry of a closed log, and begins the next epoch with it before the agent does."""

from __future__ import annotations

from tests.attacks.access import Access, public_half
from tests.attacks.attack import Attack, main
from tests.attacks.dump import Dump
from tests.attacks.forger import Forger
from tests.attacks.scene import MEMORIES, MODES, Scene


def carry_out(scene: Scene) -> None:
    """By a dump of the last epoch, and by the verifier's access; then the agent's next start behind it."""
    with scene.agent() as agent:
        agent.send(b"one\n", b"two\n")
        dump = Dump.of(scene.page)
        agent.send(b"three\n")
        agent.stop()
    scene.remember()
    for name, recovers, seen in (("dump", None, dump), ("verifier's thief", scene.verifier_access, None)):
        with scene.copy():
            _append(scene, recovers, seen)
            for mode in MODES:
                scene.expect(name, 4, "epoch_unsigned", "close_unsigned", mode=mode)
            for memory in MEMORIES:
                scene.expect(name, 4, "epoch_unsigned", memory=memory)
            scene.expect_proof(name, 3, 3)
    page, state = scene.page.read_bytes(), scene.host_state()
    with scene.copy():
        _append(scene, None, dump)
        said = scene.seal("the honest agent again")
        scene.expect_said("the next start, with its page", said, "the log is not what it was")
        scene.expect("the next start, with its page", 1, "tampered_at_start")
    for name, lost in (
        ("the next start, state directory kept", False),
        ("the next start, state directory lost", True),
    ):
        scene.put_back(page, state)
        scene.reboot()
        if lost:
            scene.lose_state()
        with scene.copy():
            _append(scene, scene.verifier_access, None)
            said = scene.seal("the honest agent again")
            scene.expect_said(name, said, "cold")
            scene.expect(name, 4, "epoch_unsigned", "cold_start")
            scene.expect(name, 4, "epoch_unsigned", mode="public")
            scene.expect_proof(name, 3, 3)


def _append(scene: Scene, recovers: Access | None, dump: Dump | None) -> None:
    public = public_half(scene.folder, scene.service.agent)
    forger = Forger.after(scene.log, public, recovers=recovers, dump=dump)
    forger.begin("carry", signed=False).block(b"from the thief\n").close(signed=False)


ATTACK = Attack(
    attacker="got one dump of the agent's memory, or stole the verifier's credential, and writes to the "
    "files of a log that was closed cleanly; wrapping is public",
    holds="the key of a line of the last epoch (so the carry), or what recovers every secret and carry",
    did="appended an epoch with link carry behind the honest close and its note",
    before="the honest agent's next start went on behind it and signed it all: verified (0)",
    carry_out=carry_out,
    backends=("file", "pkcs11"),
)

if __name__ == "__main__":
    main(ATTACK)
