"""The first half: keys, a program whose log is sealed while it runs, and what a seal line says."""

from __future__ import annotations

import shutil
import time

from epochseal.demo.scene import BOTH_KEYS, PUBLIC_KEY, Scene, whole
from epochseal.demo.sealing import AgentProcess, Checker, seal_words
from epochseal.demo.service import Outlet
from epochseal.demo.stage import DemoError
from epochseal.encoding import b64encode, format_time
from epochseal.format.seal_lines import Block, TaggedLine, parse_line
from epochseal.storage.segments import FOLDER, list_segments

_EVENTS = 4500
_SETTLE_SECONDS = 0.5


def make_keys(scene: Scene) -> None:
    """Step: keys for three roles."""
    stage = scene.stage
    stage.step("Keys: a folder for each role")
    scene.show("keygen", "keys", saying=lambda done: done.stdout)
    scene.checker = Checker(scene.dir / "keys")
    stage.facts(
        [
            ("keys/agent", "for the host that writes: issues epoch keys, signs; cannot get an old key back"),
            ("keys/verifier", "for the host that verifies: recovers epoch keys; cannot sign"),
            ("keys/auditor", "for anybody: the public key, no secret"),
        ]
    )
    stage.say(
        "In production these are keys in Vault, OpenBao, AWS KMS or an HSM, with a policy for each role."
    )


def seal(scene: Scene) -> None:
    """Step: seal the output of a real program, and verify in the middle of it."""
    stage = scene.stage
    stage.step("A real program, its log sealed while it runs")
    with Outlet() as outlet:
        service, words = outlet.service, seal_words("logs")
        stage.command("epochseal", *words, piped_from=service.command)
        stage.say(
            f"""This is {service.name}. Epochs of 500 entries and segments of 256 KiB are tiny, so that
            you see many turn: each epoch begins with a fresh key, and after each block the key that
            sealed it is wiped."""
        )
        with AgentProcess(scene.dir, words, outlet.reader) as agent:
            with stage.busy("the program works, the agent seals") as tell:
                service.work(
                    _EVENTS, lambda done: tell(f"the program works, the agent seals: {done:,} events")
                )
                time.sleep(_SETTLE_SECONDS)
                _copy_live(scene)
            stage.say("It is still running. Verified with all keys, then with the public key alone:")
            scene.show("verify", "logs", *BOTH_KEYS, saying=whole)
            scene.show("verify", "logs", *PUBLIC_KEY)
            with stage.busy("the program works on, then ends") as tell:
                service.work(_EVENTS, lambda done: tell(f"the program works on: {done:,} events"))
                service.stop()
                agent.finish()


def _copy_live(scene: Scene) -> None:
    """Keep the running log as it is now: in the order that leaves no line without its entries."""
    source, target = scene.dir / "logs", scene.copies / "older"
    (target / FOLDER).mkdir(parents=True)
    shutil.copy2(source / "checkpoint", target)
    for ending in ("seal", "log"):
        for path in sorted((source / FOLDER).glob(f"*.{ending}")):
            shutil.copy2(path, target / FOLDER)


def verify_closed(scene: Scene) -> None:
    """Step: the log after its end, and its files."""
    stage = scene.stage
    stage.step("The program has ended, the log is closed")
    scene.show("verify", "logs", *BOTH_KEYS)
    segments = list_segments(scene.dir / "logs").segments
    files = [path for segment in segments for path in (*segment.logs, segment.seal) if path is not None]
    stage.say("The .log files are the program's own lines, byte for byte; the .seal files make them evident:")
    stage.facts([(path.name, f"{path.stat().st_size:>8,} bytes") for path in files])


def explain_line(scene: Scene) -> None:
    """Step: one seal line, field by field."""
    stage = scene.stage
    segment = list_segments(scene.dir / "logs").segments[1]
    seal_file, log_file = scene.dir / "logs" / FOLDER / f"{segment.stem}.seal", segment.logs[0]
    lines = seal_file.read_bytes().splitlines()
    # The line that seals most entries shows best what a block is.
    place = max(range(len(lines)), key=lambda at: _entries(lines[at]))
    line = parse_line(lines[place])
    if not isinstance(line, TaggedLine) or not isinstance(line.body, Block):
        raise DemoError(f"no block stands in {seal_file.name}")
    block = line.body
    stage.step(f"One seal line, explained: line {place + 1} of {seal_file.name}")
    stage.output(lines[place].decode())
    stage.facts(
        [
            ("block", "entries that were committed together"),
            (f"{line.index}", "its place in the Merkle tree that checkpoints are signed over"),
            (f"{block.first_entry} {block.entries}", "number of its first entry, and how many they are"),
            (f"{block.offset} {block.size}", "where they begin in the .log file, and how many bytes"),
            (f"{block.time}", f"when: {format_time(block.time)}"),
            (f"{b64encode(block.digest)[:12]}…", "SHA-256 of these bytes"),
            ('{"src":…}', "where they came from, and up to which byte of it everything is sealed"),
            (
                f"{b64encode(line.tag)[:12]}…",
                "HMAC over this line and the tag before it, by a key that was wiped right after",
            ),
        ]
    )
    with log_file.open("rb") as file:
        file.seek(block.offset)
        first = file.readline().decode(errors="replace").rstrip("\n")
    stage.say("The first of these entries:")
    stage.output(first)


def _entries(raw: bytes) -> int:
    line = parse_line(raw)
    return line.body.entries if isinstance(line, TaggedLine) and isinstance(line.body, Block) else 0
