"""Saw the agent's memory once, and seals epochs of their own with it."""

from __future__ import annotations

from tests.attacks.access import public_half
from tests.attacks.attack import Attack, main
from tests.attacks.dump import Dump
from tests.attacks.forger import Forger, cut_back
from tests.attacks.scene import MEMORIES, MODES, Scene


def carry_out(scene: Scene) -> None:
    """The dump is of the first epoch; the agent seals three, and the thief replaces two of them."""
    with scene.agent(options=("--epoch-max-entries", "4", "--block-bytes", "1B")) as agent:
        agent.send(b"one\n", b"two\n")
        dump = Dump.of(scene.page)
        agent.send(*(b"entry %d\n" % number for number in range(8)))
        scene.remember()
        agent.stop()
    public = public_half(scene.folder, scene.service.agent)
    with scene.copy() as log:
        cut_back(log, dump.state.size)
        forger = Forger.after(log, public, dump=dump)
        forger.block(b"from the thief\n").turn("entries", signed=False)
        forger.block(b"and in an epoch of their own\n").turn("entries", signed=False).block(
            b"and in one more\n"
        )
        for mode in MODES:
            scene.expect("at once, left open", 4, "epoch_unsigned", mode=mode)
        for memory in MEMORIES[:2]:
            scene.expect("at once, left open", 1, memory=memory)
        scene.expect("at once, left open", 4, "epoch_unsigned", memory="log id")
        forger.close(signed=False)
        scene.expect("closed", 4, "epoch_unsigned", "close_unsigned")
        said = scene.seal("the honest agent again")
        scene.expect_said("the next start, with its page", said, "the log is not what it was")
        for mode in MODES:
            scene.expect("the next start, with its page", 1, "tampered_at_start", mode=mode)


ATTACK = Attack(
    attacker="got one dump of the agent's memory, is locked out, writes to the files; wrapping is public",
    holds="the page's content at one moment, the public half of the wrapping key, write access to the log",
    did="cut the log back to that moment and sealed the epochs after it with secrets of their own choice",
    before="verified (0) for 65 minutes",
    carry_out=carry_out,
    backends=("file", "pkcs11"),
)

if __name__ == "__main__":
    main(ATTACK)
