"""The step of the stolen folder, and of the agent's next start behind a changed log."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from epochseal.demo.scene import BOTH_KEYS, Scene, whole
from epochseal.demo.sealing import seal_words
from epochseal.demo.stage import DemoError
from epochseal.format.seal_lines import Block, TaggedLine, encode_block, encode_line, parse_line
from epochseal.storage.segments import FOLDER

_LEDGER = b"paid 100 to alice\npaid 200 to bob\npaid 300 to carol\n"
_TRUE, _FALSE = b"to alice", b"to mallo"


def attack_with_thieves(scene: Scene) -> None:
    """Step: a thief of the agent's folder, and somebody who lets the agent's own start sign a changed log.

    Raises:
        DemoError: one of them got through.
    """
    stage = scene.stage
    stage.step("A stolen folder; and a changed log that waits for the agent's start")
    stage.say("A small log, closed, and verified once, so that the verifier remembers it:")
    scene.run(*seal_words("ledger"), stdin=_LEDGER)
    scene.run("verify", "ledger", *BOTH_KEYS)
    kept = scene.copies / "ledger"
    shutil.copytree(scene.dir / "ledger", kept)
    _go_on(scene)
    _make_anew(scene)
    _put(kept, scene.dir / "ledger")
    _change_and_start(scene)


def _go_on(scene: Scene) -> None:
    """With keys/agent alone: what the last epoch handed on is in the agent's memory, and nowhere else."""
    shutil.copytree(scene.dir / "ledger", scene.copies / "continued")
    words = seal_words("copies/continued", "--state-dir", "none")
    scene.run(*words, stdin=b"paid 9,000 to mallory\n")
    scene.stage.say("With keys/agent alone the thief goes on with it, on another machine:")
    scene.show("verify", "copies/continued", *BOTH_KEYS, status=3)


def _make_anew(scene: Scene) -> None:
    scene.run(*seal_words("copies/anew", "--state-dir", "none"), stdin=_LEDGER.replace(_TRUE, _FALSE))
    _put(scene.copies / "anew", scene.dir / "ledger")
    scene.stage.say(
        """Or makes the whole log anew, with the same name and keys, and puts it in the place of the true one.
        Every line of it is right: only who has seen the true one, or was told its id, can tell."""
    )
    scene.show("verify", "ledger", *BOTH_KEYS, status=4)


def _change_and_start(scene: Scene) -> None:
    """Whoever writes files and has no key: entries, digests and lengths fit, no note says otherwise."""
    _forge(scene.dir / "ledger")
    scene.stage.say(
        """Whoever only writes files changes an entry and its digest, removes the signed checkpoints and the
        clean close, and waits for the agent to start again and to sign it all. The agent remembers better:"""
    )
    scene.show_piped(b"paid 400 to dave\n", *seal_words("ledger"), saying=whole)
    scene.show("verify", "ledger", *BOTH_KEYS, status=1)
    verdict, _ = scene.checker.check(scene.dir / "ledger", public=True)
    if "tampered_at_start" not in {problem.kind for problem in verdict.problems}:
        raise DemoError("the agent's start went on with a changed log")
    scene.stage.say("With the public key alone the verdict is the same: that line is signed.")


def _forge(logdir: Path) -> None:
    (seal,) = (logdir / FOLDER).glob("*.seal")
    (content,) = (logdir / FOLDER).glob("*.log")
    content.write_bytes(content.read_bytes().replace(_TRUE, _FALSE))
    kept = []
    for raw in seal.read_bytes().splitlines():
        line = parse_line(raw)
        if not isinstance(line, TaggedLine) or raw.startswith(b"end "):
            continue
        if isinstance(line.body, Block):
            raw = _with_digest(line, line.body, content.read_bytes())  # noqa: PLW2901  # the line as it shall stand
        kept.append(raw.rstrip(b"\n") + b"\n")
    seal.write_bytes(b"".join(kept))
    (logdir / "checkpoint").unlink()


def _with_digest(line: TaggedLine, block: Block, content: bytes) -> bytes:
    digest = hashlib.sha256(content[block.offset : block.offset + block.size]).digest()
    body = Block(block.first_entry, block.entries, block.offset, block.size, block.time, digest, block.src)
    return encode_line(encode_block(line.index, body), os.urandom(32))


def _put(source: Path, target: Path) -> None:
    shutil.rmtree(target)
    shutil.copytree(source, target)
