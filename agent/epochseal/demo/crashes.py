"""The steps after the attacks: agents killed in mid-stream, and what no log can show by itself."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from epochseal.custody.memory import require_tmpfs
from epochseal.demo.scene import BOTH_KEYS, Scene
from epochseal.demo.sealing import AgentProcess, seal_words
from epochseal.demo.service import Outlet
from epochseal.demo.stage import DemoError
from epochseal.errors import EpochsealError
from epochseal.verifier import Verdict

_EVENTS = 2000
_KILLED_AT = 1200


def kill_without_page(scene: Scene) -> None:
    """Step: `kill -9` of an agent whose key dies with it.

    Raises:
        DemoError: an acknowledged entry is missing, or the verdict is another one.
    """
    stage = scene.stage
    stage.step("kill -9 in mid-stream: nothing acknowledged is lost, and the gap is told")
    stage.say("The same program again; with --acks the agent tells how many entries are durable and sealed.")
    promised = _kill_and_restart(scene, "killed")
    scene.show("verify", "killed", *BOTH_KEYS, status=3)
    verdict, _ = scene.checker.check(scene.dir / "killed")
    cold = next((problem for problem in verdict.problems if problem.kind == "cold_start"), None)
    kinds = {problem.kind for problem in verdict.problems}
    # A kill in mid-commit leaves bytes that were never acknowledged; they are set aside, not sealed.
    if cold is None or cold.first_entry < promised or not kinds <= {"cold_start", "unsealed_bytes"}:
        raise DemoError(f"{promised} entries were acknowledged; the verdict is {verdict.problems}")
    stage.say(
        f"""Acknowledged before the kill: {promised:,} entries. Sealed before the cold start, and verified:
        {cold.first_entry:,}. The chain's key died with the agent, so the verdict is not "tampered", and
        not "all is well" either."""
    )


def kill_with_page(scene: Scene) -> None:
    """Step: the same, with the ratchet's page on a tmpfs.

    Raises:
        DemoError: an acknowledged entry is missing, or there is a gap.
    """
    stage = scene.stage
    stage.step("The same with a page that outlives the agent: no gap at all")
    with _runtime_directory() as runtime:
        if runtime is None:
            stage.say("Left out: this machine has no tmpfs that this user may write to.")
            return
        promised = _kill_and_restart(scene, "resumed", "--runtime-dir", str(runtime))
        scene.show("verify", "resumed", *BOTH_KEYS)
        verdict, _ = scene.checker.check(scene.dir / "resumed")
    if verdict.entries < promised:
        raise DemoError(f"of {promised} acknowledged entries, {verdict.entries} are in the log")
    stage.say(
        f"""Acknowledged before the kill: {promised:,} entries; in the log: {verdict.entries:,}. The key was
        in memory only: {runtime} is on a tmpfs, and a reboot clears it. An upgrade or a crash is no gap."""
    )


def show_limit(scene: Scene) -> tuple[Verdict, float]:
    """Step: the roll back that only somebody with a memory can see; the verdict on the log, and its seconds.

    Raises:
        DemoError: one of the two logs does not verify.
    """
    stage = scene.stage
    stage.step("What no log can show by itself")
    logs, yesterday = scene.dir / "logs", scene.copies / "yesterday"
    shutil.copytree(logs, yesterday)
    scene.run(*seal_words("logs"), stdin=b"the next day\nsomething that should never be known\n")
    after, _ = scene.checker.check(logs)
    shutil.rmtree(logs)
    shutil.copytree(yesterday, logs)
    before, seconds = scene.checker.check(logs)
    if (after.verdict, before.verdict) != ("verified", "verified") or after.tree_size <= before.tree_size:
        raise DemoError("the log of the next day does not verify")
    stage.say(
        f"""The next day the agent goes on: {after.entries:,} entries, a tree of {after.tree_size:,} lines.
        Then everything, the checkpoint too, is put back to yesterday's clean close: {before.entries:,}
        entries, {before.tree_size:,} lines, and it verifies. Nobody can tell from these files alone, and the
        verdict says so itself:"""
    )
    stage.output("\n".join(f"the log alone cannot show {text}" for text in before.not_shown))
    stage.say(
        f"""Somebody has to remember that there was a tree of {after.tree_size:,} lines: verify does, from
        the first time that it sees a log; a trust file, a witness, or the trail of the backend that issued
        the next day's key. The agent does too: its next start finds an older copy, and its next line says
        so for ever."""
    )
    return before, seconds


def _kill_and_restart(scene: Scene, name: str, *more: str) -> int:
    """Kill an agent under load and start it again; the entries that it had acknowledged."""
    stage, words = scene.stage, seal_words(name, *more, "--acks")
    with Outlet() as outlet:
        stage.command("epochseal", *words, piped_from=("…",))
        with stage.busy("the program works, the agent is killed and started again"):
            with AgentProcess(scene.dir, words, outlet.reader) as agent:
                program = threading.Thread(target=outlet.service.work, args=(_EVENTS,), daemon=True)
                program.start()
                agent.wait_for(_KILLED_AT)
                agent.kill()
            with AgentProcess(scene.dir, words, outlet.reader) as again:
                again.wait_for(agent.acknowledged)
                program.join()
                outlet.service.stop()
                said = again.finish()
    stage.command("kill", "-9", str(agent.pid))
    stage.say("The same command again, at the end of the same pipe, where the program's lines wait:")
    stage.output(said or "(it says nothing, and goes on)")
    return agent.acknowledged


@contextmanager
def _runtime_directory() -> Iterator[Path | None]:
    """A fresh directory on a tmpfs, None where there is none; gone afterwards."""
    for parent in filter(None, (os.environ.get("XDG_RUNTIME_DIR"), "/dev/shm")):  # noqa: S108  # mkdtemp names it
        try:
            require_tmpfs(Path(parent))
            directory = Path(tempfile.mkdtemp(prefix="epochseal-demo-", dir=parent))
        except (EpochsealError, OSError):
            continue
        try:
            yield directory
        finally:
            shutil.rmtree(directory)
        return
    yield None
