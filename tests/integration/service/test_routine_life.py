"""What happens to every log: none of it needs a person, and all of it verifies, whatever is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from epochseal_backends.file import backend as file
from tests.attacks.forger import read_lines
from tests.attacks.scene import MODES, Memory, Scene, scene
from tests.integration.key_services import Role

MEMORIES: tuple[Memory, ...] = ("none", "known logs", "trust file")


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Scene]:
    """A log of three epochs, closed, verified and remembered by everybody."""
    with scene("file", tmp_path) as made:
        made.seal(*(f"entry {number}" for number in range(5)), options=("--epoch-max-entries", "2"))
        made.remember()
        yield made


def check(life: Scene, *links: str) -> None:
    """Verified in both modes, with each memory and with none; these are the links behind the first three."""
    found = [line["link"] for line in read_lines(life.log) if line["kind"] == "epoch"]
    assert found[:3] == ["genesis", "carry", "carry"]
    assert tuple(found[3:]) == links
    for mode in MODES:
        for memory in MEMORIES:
            told = life.verify(mode, memory)
            assert (told["verdict"], told["exit_status"], told["problems"]) == ("verified", 0, [])


def test_restarts_and_reboots(life: Scene) -> None:
    """A clean stop; then the page is gone, and the state directory carries on; both the other way round."""
    life.seal("restarted")
    life.reboot()
    life.seal("rebooted")
    life.reboot()
    life.seal("rebooted, without a runtime directory", page=False)
    life.seal("restarted")
    check(life, "carry", "carry", "carry", "carry")


def test_killed_with_a_page(life: Scene) -> None:
    """`kill -9`, twice, and an upgrade: the next process goes on in the same epoch."""
    for _ in range(2):
        with life.agent() as agent:
            agent.send(b"before the kill\n")
            agent.kill()
    life.seal("after it")
    check(life, "carry")


def test_segments_turn(life: Scene) -> None:
    """Each segment begins with an epoch; between two of them nothing is signed but the announcement."""
    life.seal(
        *(f"entry {number}" for number in range(6)), options=("--segment-bytes", "16B", "--block-bytes", "8B")
    )
    links = [line["link"] for line in read_lines(life.log) if line["kind"] == "epoch"][3:]
    assert len(links) > 2
    check(life, *["carry"] * len(links))


def test_both_keys_rotate(life: Scene) -> None:
    """By the shipped command, with the page and without: with all keys the pins move by themselves.

    Who has the public key alone is told the new one beforehand: their memory takes nobody's word for it.
    """
    for number, reboots in ((1, False), (2, True)):
        if reboots:
            life.reboot()
        keys = life.folder / f"keys-{number}"
        file.generate(keys)
        for kind in ("checkpoint", "epoch"):
            config = life.configuration({"runtime_dir": f'"{life.runtime}"'})
            new = f"file:{keys / 'agent'}"
            words = ("rotate", "--config", str(config), "--reason", "yearly", f"--{kind}-key", new)
            life.on_host(*words)
            old = life.service.agent
            role = Role(new, old.checkpoint, old.env) if kind == "epoch" else Role(old.epoch, new, old.env)
            life.service = replace(life.service, agent=role)
        life.more_epoch_keys = (*life.more_epoch_keys, f"file:{keys / 'verifier'}")
        life.seal("with the new keys")
        if not life.auditors_key:
            told = life.verify("public", "trust file")
            assert (told["exit_status"], told["problems"][0]["kind"]) == (4, "unknown_key")
        life.auditors_key = f"file:{keys / 'auditor'}"
        links = [line["link"] for line in read_lines(life.log) if line["kind"] == "epoch"][3:]
        check(life, *["carry"] * len(links))


def test_pruned(life: Scene) -> None:
    """What has expired goes by the shipped command; the agent goes on behind it."""
    life.seal("in a second segment")
    life.seal("in a third one")
    for mode in MODES:
        assert life.verify(mode, "trust file")["exit_status"] == 0  # a memory looks in before things expire
        assert life.verify(mode, "known logs")["exit_status"] == 0
    runtime = ("--runtime-dir", str(life.runtime))
    life.on_host("prune", str(life.log), "--keep", "1ms", *life.service.agent.keys, *runtime)
    assert min(life.log.glob("segments/*.seal")).name > "000002"
    life.seal("behind it")
    for mode in MODES:
        for memory in MEMORIES:
            told = life.verify(mode, memory)
            assert (told["exit_status"], told["problems"]) == (0, [])


def test_cold_start(life: Scene) -> None:
    """Without page and state directory: 3, with the two messages; accepted by a person: 0 with a warning."""
    life.lose_state()
    said = life.seal("on another host")
    assert "this start is cold" in said
    assert "--accept-start" in said
    for mode in MODES:
        for memory in MEMORIES:
            told = life.verify(mode, memory)
            assert told["exit_status"] == 3
            assert [item["kind"] for item in told["problems"]] == ["cold_start"]
    (start,) = life.starts()
    assert start in said
    assert "nothing is missing" in life.verify("keys", "trust file")["problems"][0]["detail"]
    life.accept(start)
    told = life.verify("keys", "trust file")
    assert (told["exit_status"], told["problems"]) == (0, [])
    assert "start_accepted" in [item["kind"] for item in told["warnings"]]
    life.seal("and it goes on")
    assert life.verify("keys", "trust file")["exit_status"] == 0


def test_killed_without_a_page(life: Scene) -> None:
    """A power cut: 3, and the message says that entries may be lost; accepted: 0 with a warning."""
    with life.agent(page=False) as agent:
        agent.send(b"before the cut\n")
        agent.kill()
    said = life.seal("after it", page=False)
    assert "entries after the last sealed one may be lost" in said
    (start,) = life.starts()
    assert "may be lost" in life.verify("keys", "trust file")["problems"][0]["detail"]
    life.accept(start)
    told = life.verify("keys", "trust file")
    assert (told["exit_status"], [item["kind"] for item in told["warnings"]]) == (0, ["start_accepted"])
