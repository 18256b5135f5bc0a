"""Puts another log in the place of a log: same origin, same times, everything signed."""

from __future__ import annotations

import shutil

from tests.attacks.attack import Attack, main
from tests.attacks.forger import Forger, cut_back, read_lines
from tests.attacks.scene import MEMORIES, MODES, Scene
from tests.integration.key_services import ORIGIN
from tests.reference.maker import Maker
from tests.reference.notes import b64

ENTRIES = tuple(f"user=alice action=transfer amount={amount}" for amount in range(100, 106))
NONE_SHOWS = "a log alone cannot show this: its id does, to whoever was told it before"


def carry_out(scene: Scene) -> None:
    """From the first line on; behind the true first line; as a log whose first line has expired."""
    scene.seal(*ENTRIES, options=("--epoch-max-entries", "4"))
    scene.remember()
    began = read_lines(scene.log)[0]["time"]
    with scene.copy() as log:
        shutil.rmtree(log)
        _fill(_forger(scene, began).begin("genesis"))
        expected = {
            "known logs": (4, "other_log"),
            "trust file": (1, "log_replaced"),
            "log id": (4, "wrong_log"),
        }
        for mode in MODES:
            scene.expect("made anew", 0, mode=mode, limit=NONE_SHOWS)
            for memory in MEMORIES:
                scene.expect("made anew", *expected[memory], mode=mode, memory=memory)
    with scene.copy() as log:
        cut_back(log, 1)
        _fill(Forger.after(log, scene.agent_access, scene.agent_access).begin("cold"))
        for mode in MODES:
            scene.expect("behind the true first line", 3, "cold_start", mode=mode)
            scene.expect("behind the true first line", 3, "cold_start", mode=mode, memory="log id")
            for memory in ("known logs", "trust file"):
                scene.expect("behind the true first line", 1, "forked", mode=mode, memory=memory)
    with scene.copy() as log:
        shutil.rmtree(log)
        forger = _forger(scene, began).pretend(1000, 5000)
        forger.log, forger.epoch, forger.segment = b64(scene.log_id), 4, 4
        forger.begin("carry", signed=True)
        _fill(forger.prune({"epoch": 5, "tree": {"size": 1000}, "first_entry": 5000}, 4).sign().note())
        scene.expect("as if its beginning had expired", 0, "beginning_unproven", limit=NONE_SHOWS)
        scene.expect("as if its beginning had expired", 3, "beginning_unproven", memory="log id")
        for memory in ("known logs", "trust file"):
            scene.expect("as if its beginning had expired", 3, "trust_expired", memory=memory)


def _forger(scene: Scene, began: int) -> Forger:
    forger = Forger(scene.log, ORIGIN, scene.agent_access, scene.agent_access)
    forger.time = began - 100
    return forger


def _fill(log: Maker) -> None:
    log.block(b"user=alice action=transfer amount=9\n").turn().block(b"nothing else\n").close()


ATTACK = Attack(
    attacker="stole the agent's credential (or is root from a time t on), and writes to the files",
    holds="the agent's access (issue, sign), write access to the log directory",
    did="made the whole log anew: same origin, same log id where that can be, same times, other entries",
    before="verified (0), also for whoever kept the id; our own advice to keep the id did not help",
    carry_out=carry_out,
    backends=("file", "vault", "pkcs11"),
)

if __name__ == "__main__":
    main(ATTACK)
