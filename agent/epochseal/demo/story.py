"""The story, step by step: every command is run, every verdict comes from the real verifier."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from epochseal.demo.attacks import ATTACKS, Attack, Victim
from epochseal.demo.sealing import ORIGIN, AgentProcess, Checker, Done, run, seal_words
from epochseal.demo.service import Outlet
from epochseal.demo.stage import DemoError, Stage, verdict_text
from epochseal.encoding import b64encode, format_time
from epochseal.errors import EpochsealError
from epochseal.lines import Block, TaggedLine, parse_line
from epochseal.memory import require_tmpfs
from epochseal.segments import FOLDER, list_segments
from epochseal.verifier import KINDS, Verdict

STEPS = 8
_BOTH_KEYS = ("--epoch-key", "file:keys/verifier", "--checkpoint-key", "file:keys/auditor")
_PUBLIC_KEY = ("--checkpoint-key", "file:keys/auditor")
_VISITS = 4500
_VISITS_KILLED = 2000
_KILLED_AT = 1200
_SETTLE_SECONDS = 0.5


class Story:
    """Tells it once.

    Args:
        stage: where it is shown.
        directory: an empty directory to work in.
    """

    def __init__(self, stage: Stage, directory: Path) -> None:
        self._stage = stage
        self._dir = directory
        self._checker: Checker

    def tell(self) -> None:
        """All steps.

        Raises:
            DemoError: an attack was not detected, or a command did not end as it must.
            EpochsealError: the machine cannot run the demo.
        """
        self._make_keys()
        self._seal()
        self._verify_closed()
        self._explain_line()
        self._attack()
        self._kill_without_page()
        self._kill_with_page()
        self._show_limit()

    # --- an honest log -----------------------------------------------------------------------------------------

    def _make_keys(self) -> None:
        stage = self._stage
        stage.step("Keys: a folder for each role")
        self._run("keygen", "keys", show=lambda done: done.stdout)
        self._checker = Checker(self._dir / "keys")
        stage.facts(
            [
                ("keys/agent", "for the host that writes: issues epoch keys, signs; cannot get an old key back"),
                ("keys/verifier", "for the host that verifies: recovers epoch keys; cannot sign"),
                ("keys/auditor", "for anybody: the public key, no secret"),
            ]
        )
        stage.say("In production these are keys in Vault, OpenBao, AWS KMS or an HSM, with a policy for each role.")

    def _seal(self) -> None:
        stage = self._stage
        stage.step("A real program, its log sealed while it runs")
        with Outlet() as outlet:
            service = outlet.service
            words = seal_words("logs")
            stage.command("epochseal", *words, piped_from=service.command)
            stage.say(
                f"""This is {service.name}. Epochs of 500 entries and segments of 200 KiB are tiny, so that you see
                many turn: each epoch begins with a fresh key, and after each block the old key is wiped."""
            )
            with AgentProcess(self._dir, words, outlet.reader) as agent:
                with stage.busy("the program works, the agent seals") as tell:
                    service.work(_VISITS, lambda done: tell(f"the program works, the agent seals: {done:,} events"))
                    time.sleep(_SETTLE_SECONDS)
                    self._copy_live()
                stage.say("It is still running. Verified with all keys, then with the public key alone:")
                self._run("verify", "logs", *_BOTH_KEYS, show=_whole)
                self._run("verify", "logs", *_PUBLIC_KEY)
                with stage.busy("the program works on, then ends") as tell:
                    service.work(_VISITS, lambda done: tell(f"the program works on: {done:,} events"))
                    service.stop()
                    agent.finish()

    def _copy_live(self) -> None:
        """A copy of the running log, each file before those that are written before it: never ahead of its lines."""
        source, target = self._dir / "logs", self._dir / "copies" / "older"
        (target / FOLDER).mkdir(parents=True)
        shutil.copy2(source / "checkpoint", target)
        for ending in ("seal", "log"):
            for path in sorted((source / FOLDER).glob(f"*.{ending}")):
                shutil.copy2(path, target / FOLDER)

    def _verify_closed(self) -> None:
        stage = self._stage
        stage.step("The program has ended, the log is closed")
        self._run("verify", "logs", *_BOTH_KEYS)
        segments = list_segments(self._dir / "logs").segments
        files = [path for segment in segments for path in (*segment.logs, segment.seal) if path is not None]
        stage.say("The .log files are the program's own lines, byte for byte; the .seal files make them evident:")
        stage.facts([(path.name, f"{path.stat().st_size:>8,} bytes") for path in files])

    def _explain_line(self) -> None:
        stage = self._stage
        segment = list_segments(self._dir / "logs").segments[1]
        seal, log = self._dir / "logs" / FOLDER / f"{segment.stem}.seal", segment.logs[0]
        lines = seal.read_bytes().splitlines()
        place = next(at for at in range(len(lines) // 2, len(lines)) if lines[at].startswith(b"block "))
        line = parse_line(lines[place])
        if not isinstance(line, TaggedLine) or not isinstance(line.body, Block):
            raise DemoError(f"line {place + 1} of {seal.name} is no block")
        block = line.body
        stage.step(f"One seal line, explained: line {place + 1} of {seal.name}")
        stage.output(lines[place].decode())
        with log.open("rb") as file:
            file.seek(block.offset)
            first = file.readline().decode(errors="replace").rstrip("\n")
        stage.facts(
            [
                ("block", "entries that were committed together"),
                (f"{line.index}", "its place in the Merkle tree that checkpoints are signed over"),
                (f"{block.first_entry} {block.entries}", "number of its first entry in the log, and how many they are"),
                (f"{block.offset} {block.size}", "where they stand in the .log file, and how many bytes they are"),
                (f"{block.time}", f"when: {format_time(block.time)}"),
                (f"{b64encode(block.digest)[:12]}…", "SHA-256 of these bytes"),
                ('{"src":…}', "where they came from, and up to which byte of it everything is sealed"),
                (f"{b64encode(line.tag)[:12]}…", "HMAC over this line and the tag before it, by a key that was wiped right after"),
            ]
        )  # fmt: skip  # a table
        stage.say("The first of these entries:")
        stage.output(first)

    # --- attacks -----------------------------------------------------------------------------------------------

    def _attack(self) -> None:
        stage = self._stage
        stage.step(f"{len(ATTACKS)} attacks, each on a copy, each verified")
        stage.say(
            """The attacker can write to every stored file, has a copy of the log from earlier (its agent still
            alive), and for one attack the public wrapping key, for another a whole log sealed with other keys."""
        )
        self._prepare_attacker()
        table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        table.add_column("attack", no_wrap=True, min_width=28)
        table.add_column("verdict", no_wrap=True)
        table.add_column("entries", no_wrap=True, justify="right")
        table.add_column("seg", no_wrap=True, justify="right")
        table.add_column("lines", no_wrap=True, justify="right")
        table.add_column("ms", no_wrap=True, justify="right")
        missed, missed_in_public = [], []
        with stage.busy("attacking copies, verifying them") as tell:
            for attack in ATTACKS:
                tell(f"verifying: {attack.name}")
                logdir = self._attacked(attack)
                verdict, seconds = self._checker.check(logdir, max_age=attack.max_age)
                table.add_row(attack.name, verdict_text(verdict.verdict), *_where(verdict), f"{seconds * 1000:.0f}")
                if verdict.verdict != attack.verdict:
                    missed.append(attack.name)
                if not self._checker.check(logdir, max_age=attack.max_age, public=True)[0].exit_status:
                    missed_in_public.append(attack.name)
        stage.table(table)
        if missed:
            raise DemoError(f"not detected as it must be: {', '.join(missed)}")
        self._sum_up(missed_in_public)

    def _prepare_attacker(self) -> None:
        wrapping = self._dir / "copies" / "public-wrapping-key"
        wrapping.mkdir()
        shutil.copy(self._dir / "keys" / "agent" / "epoch.pub", wrapping)
        entries = b"".join(path.read_bytes() for path in sorted((self._dir / "logs" / FOLDER).glob("*.log")))
        for words in (("keygen", "copies/other-keys"), seal_words("copies/forged", keys="copies/other-keys")):
            done = run(self._dir, *words, stdin=b"" if words[0] == "keygen" else entries)
            _expect(done.returncode, 0, words, done.stderr)

    def _attacked(self, attack: Attack) -> Path:
        copies = self._dir / "copies"
        logdir = copies / "attacked"
        if logdir.exists():
            shutil.rmtree(logdir)
        shutil.copytree(self._dir / "logs", logdir)
        victim = Victim(
            logdir, older=copies / "older", forged=copies / "forged",
            wrapping_key=copies / "public-wrapping-key", now=time.time_ns() // 1_000_000,
        )  # fmt: skip  # one call
        attack.do(victim)
        for path in logdir.rglob("*"):
            os.utime(path, (0, 0))  # a careful attacker leaves no fresh times; verdicts rest on none
        return logdir

    def _sum_up(self, missed_in_public: list[str]) -> None:
        stage = self._stage
        found = len(ATTACKS) - len(missed_in_public)
        stage.say(
            f"""Entries count from 0 over the log; lines from 1 in the segment's .log file: the place is the block
            that was hit. "{ATTACKS[11].name}" looks like a living log, so it was verified with --max-age 1s: without
            that, 3 heartbeats (30 s) have to pass. With the public key alone, {found} of {len(ATTACKS)} are
            detected{"" if not missed_in_public else ", not: " + ", ".join(missed_in_public)}. The first one again,
            as the command says it:"""
        )
        self._attacked(ATTACKS[0])
        self._run("verify", "copies/attacked", *_BOTH_KEYS, status=1)

    # --- crashes -----------------------------------------------------------------------------------------------

    def _kill_without_page(self) -> None:
        stage = self._stage
        stage.step("kill -9 in mid-stream: nothing acknowledged is lost, and the gap is told")
        promised, said = self._killed("killed")
        stage.output(said)
        verdict = self._run_and_check("killed", status=3)
        cold = next((problem for problem in verdict.problems if problem.kind == "cold_start"), None)
        if cold is None or cold.first_entry < promised or len(verdict.problems) != 1:
            raise DemoError(f"of {promised} acknowledged entries not all are in the log, or more than a cold start is told")
        stage.say(
            f"""Acknowledged before the kill: {promised:,} entries; sealed and verified from then: {cold.first_entry:,}.
            The chain's key died with the agent, so the verdict is not "tampered" and not "all is well" either."""
        )

    def _kill_with_page(self) -> None:
        stage = self._stage
        stage.step("The same with a page that outlives the agent: no gap at all")
        with _runtime_directory() as runtime:
            if runtime is None:
                stage.say("Left out: this machine has no tmpfs that this user may write to.")
                return
            promised, said = self._killed("resumed", "--runtime-dir", str(runtime))
            stage.output(said)
            verdict = self._run_and_check("resumed", status=0)
        if verdict.entries < promised:
            raise DemoError(f"of {promised} acknowledged entries, {verdict.entries} are in the log")
        stage.say(
            f"""Acknowledged before the kill: {promised:,} entries; in the log: {verdict.entries:,}. The key was in
            memory only: {runtime} is on a tmpfs, and a reboot clears it. An upgrade or a crash is no gap."""
        )

    def _killed(self, name: str, *more: str) -> tuple[int, str]:
        """Kill an agent under load and start it again; what it had acknowledged, and what the second one said."""
        stage = self._stage
        words = seal_words(name, *more, "--acks")
        with Outlet() as outlet:
            stage.command("epochseal", *words, piped_from=("…",))
            with stage.busy("the program works, the agent is killed and started again"):
                with AgentProcess(self._dir, words, outlet.reader) as agent:
                    visitors = threading.Thread(target=outlet.service.work, args=(_VISITS_KILLED,), daemon=True)
                    visitors.start()
                    agent.wait_for(_KILLED_AT)
                    agent.kill()
                stage.command("kill", "-9", str(agent.pid))
                stage.command("epochseal", *words, piped_from=("…",))
                with AgentProcess(self._dir, words, outlet.reader) as again:
                    again.wait_for(agent.acknowledged)
                    visitors.join()
                    outlet.service.stop()
                    return agent.acknowledged, again.finish()

    def _run_and_check(self, name: str, *, status: int) -> Verdict:
        self._run("verify", name, *_BOTH_KEYS, status=status)
        return self._checker.check(self._dir / name)[0]

    # --- the limit ---------------------------------------------------------------------------------------------

    def _show_limit(self) -> None:
        stage = self._stage
        stage.step("What no log can show by itself")
        tomorrow = self._dir / "copies" / "tomorrow"
        shutil.copytree(self._dir / "logs", tomorrow)
        words = seal_words("copies/tomorrow")
        done = run(self._dir, *words, stdin=b"the next day\nsomething that should never be known\n")
        _expect(done.returncode, 0, words, done.stderr)
        after = self._checker.check(tomorrow)[0]
        before = self._checker.check(self._dir / "logs")[0]
        if (after.verdict, before.verdict) != ("verified", "verified") or after.tree_size <= before.tree_size:
            raise DemoError("the log of the next day does not verify")
        stage.say(
            f"""The next day the agent goes on: {after.entries:,} entries, a tree of {after.tree_size:,} lines. Then
            everything, the checkpoint too, is put back to yesterday's clean close: {before.entries:,} entries,
            {before.tree_size:,} lines, and it verifies. Nobody can see that from these files alone, and the verdict says so:"""
        )
        stage.output("\n".join(f"the log alone cannot show {text}" for text in before.not_shown))
        stage.say("It takes somebody who remembers the larger tree. That is what these are for.")

    # --- commands ----------------------------------------------------------------------------------------------

    def _run(self, *words: str, status: int = 0, show: Callable[[Done], str] | None = None) -> None:
        """Show a command, run it, show what it said; it must end with `status`."""
        self._stage.command("epochseal", *words)
        done = run(self._dir, *words)
        self._stage.output((show or _main_lines)(done))
        _expect(done.returncode, status, words, done.stderr)


def _whole(done: Done) -> str:
    return f"{done.stdout}{done.stderr}(exit status {done.returncode})"


def _main_lines(done: Done) -> str:
    """A verdict without what the reader has seen in the one before."""
    lines = _whole(done).splitlines()
    known = ("  origin", "  signed", "  last sealed", "  tree", "  the log alone")
    return "\n".join(line for line in lines if not line.startswith(known))


def _expect(returned: int, status: int, words: tuple[str, ...], said: str) -> None:
    if returned != status:
        raise DemoError(f"epochseal {' '.join(words[:2])} ended with {returned}, not {status}: {said.strip()}")


def _where(verdict: Verdict) -> tuple[str, str, str]:
    """Entries, segment and lines of the widest problem that the verdict follows from."""
    found = [problem for problem in verdict.problems if KINDS[problem.kind][0] == verdict.verdict]
    if not found:
        return "", "", ""
    problem = max(found, key=lambda item: item.last_entry - item.first_entry)
    entries = _range(problem.first_entry, problem.last_entry)
    return entries, str(problem.segment or ""), _range(problem.first_line, problem.last_line)


def _range(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first}-{last}"


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
