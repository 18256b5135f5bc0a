"""A log held against the audit device of a real OpenBao: honest agents that crash, and thieves."""

from __future__ import annotations

import itertools
import signal
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest

from epochseal.encoding import b64encode
from epochseal.keys import Context
from tests.backends_under_test.openbao import OpenBao
from tests.integration.agents import tmpfs
from tests.integration.trail.transit_logs import ORIGIN, Forger, TransitLog

_names = (f"log{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A running server whose trail shows contexts, secrets in their wrapped form, and what is signed."""
    with OpenBao(tmp_path_factory.mktemp("bao")) as server:
        server.make_mount("transit")
        shown = {
            "audit_non_hmac_request_keys": ["context", "input"],
            "audit_non_hmac_response_keys": ["ciphertext"],
        }
        server.request("POST", "sys/mounts/transit/tune", shown)
        yield server


@pytest.fixture
def log(bao: OpenBao, tmp_path: Path) -> TransitLog:
    """A log with keys of its own that nothing was sealed in yet."""
    return TransitLog(tmp_path / "log", bao, bao.provision(next(_names), ORIGIN))


def rotate(log: TransitLog) -> None:
    """A new version of the epoch key in the backend."""
    log.bao.request("POST", f"{log.keys.mount}/keys/{log.keys.name}-epoch/rotate", {})


def test_honest(log: TransitLog) -> None:
    """Three rotations, two crashes between a call and its epoch line, a reboot: what is known explains it.

    The page remembers the call of the first crash, and the next epoch line lists it. A power cut takes the
    list along: then the trail has a call of which nobody knows what it came to.
    """
    with tmpfs() as runtime:
        resuming = ("--runtime-dir", str(runtime))
        with log.agent(*resuming) as agent:
            log.send(agent, 5)
            rotate(log)
            log.send(agent, 4)
            log.stop_between(agent)
            agent.kill()
        with log.agent(*resuming) as agent:
            log.send(agent, 4)
            rotate(log)
            log.send(agent, 3)
            assert agent.end() == 0
    status, result = log.reconcile()
    assert (status, result["problems"], result["verdict"]) == (0, [], "clean")
    assert result["calls"] == result["matched"] + 1 == result["epochs"] + 1
    kinds = Counter(item["kind"] for item in result["notes"])
    # Two keys were made, and one of them rotated.
    assert kinds == {"abandoned": 1, "key_changed": 3}
    # The page went with the machine's memory.
    with log.agent() as agent:
        log.send(agent, 3)
        log.stop_between(agent)
        agent.kill()
    log.seal(3)
    rotate(log)
    log.seal(3)
    status, problems, warnings = log.verify()
    assert (status, problems) == (3, ["cold_start"])
    assert "start_accepted" not in warnings
    # The kill without a page is the one cold start; the closes before and behind it handed the carry on.
    assert log.links()[0] == "genesis"
    assert sorted(log.links()[1:]) == ["carry"] * (log.epochs() - 2) + ["cold"]
    status, result = log.reconcile()
    cold = log.links().index("cold")
    found = [(item["kind"], item["epoch"]) for item in result["problems"]]
    assert (status, found, result["verdict"]) == (3, [("issued_unlisted", cold)], "incomplete")
    assert result["matched"] == result["epochs"] == log.epochs() >= 12
    assert result["calls"] == result["epochs"] + 2
    kinds = Counter(item["kind"] for item in result["notes"])
    assert kinds == {"abandoned": 1, "key_changed": 3, "recovered": 1}


def test_recorded_rotations(log: TransitLog) -> None:
    """Three times `epochseal rotate`, of both keys: clean, every signature is over this log."""
    epoch, checkpoint = log.keys.epoch_uri, log.keys.checkpoint_uri
    log.seal(3)
    for option, uri, key in (
        ("--checkpoint-key", f"{checkpoint}?version=2", log.signing_key),
        ("--epoch-key", epoch, log.epoch_key),
        ("--checkpoint-key", f"{checkpoint}?version=3", log.signing_key),
    ):
        mount, _, name = key.rpartition("/")
        log.bao.request("POST", f"{mount}/keys/{name}/rotate", {})
        log.bao.allow_versions(log.keys, ORIGIN, 1, 2, 3)
        log.rotate(option, uri)
        log.seal(3)
    assert log.verify()[:2] == (0, [])
    status, result = log.reconcile()
    assert (status, result["problems"]) == (0, [])
    assert result["matched"] == result["epochs"] == log.epochs()


# --- thieves ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [False, True], ids=["without its memory", "with its memory"])
def test_rolled_back_and_continued(log: TransitLog, tmp_path: Path, *, state: bool) -> None:
    """Set back to a clean close and continued with the agent's login: the trail tells, in any case.

    Without what the agent remembers it is a cold start as well. A host that was set back as a whole carries
    on: nothing in the log shows that.
    """
    log.seal(5)
    thief = log.of(tmp_path / "thief", state=state)
    first = log.epochs()
    log.seal(5)
    lost = range(first, log.epochs())
    thief.seal(3)
    assert thief.links()[first] == ("carry" if state else "cold")
    status, problems, _ = thief.verify()
    assert (status, problems) == ((0, []) if state else (3, ["cold_start"]))
    status, found = thief.found()
    assert status == 1
    assert {epoch for kind, epoch in found if kind == "issued_not_sealed"} == set(lost)
    # Each tree that the real log had signed is missing too, and the real log misses the thief's.
    assert {kind for kind, _ in found} == {"issued_not_sealed", "signed_not_sealed"}
    status, found = log.found()
    assert status == 1
    assert {epoch for kind, epoch in found if kind == "issued_not_sealed"} == set(
        range(first, thief.epochs())
    )


def test_set_back_and_left(log: TransitLog, tmp_path: Path) -> None:
    """Set back to a clean close: the log verifies as if nothing was, the trail names the epochs."""
    # The last epoch is not full at the close: so no secret has been asked for that comes to nothing.
    log.seal(3)
    thief = log.of(tmp_path / "thief")
    first = log.epochs()
    log.seal(3)
    assert thief.verify()[:2] == (0, [])
    status, found = thief.found()
    assert status == 1
    lost = [epoch for kind, epoch in found if kind == "issued_not_sealed"]
    assert lost == list(range(first, log.epochs()))
    assert log.found() == (0, [])


@pytest.mark.parametrize("state", [False, True], ids=["without its memory", "with its memory"])
def test_forked(log: TransitLog, tmp_path: Path, *, state: bool) -> None:
    """Two hosts go on from one copy, one call after the other: neither log is clean."""
    log.seal(4)
    fork = log.of(tmp_path / "fork", state=state)
    first = log.epochs()
    log.seal(1)
    fork.seal(1)
    for either in (log, fork):
        status, found = either.found()
        assert status == 1
        assert ("issued_not_sealed", first) in found


def test_forked_at_the_same_moment(bao: OpenBao, tmp_path: Path) -> None:
    """The thief has the secret first and uses it last: what was issued and signed tells them apart."""
    caught = False
    while not caught:
        name = next(_names)
        log = TransitLog(tmp_path / name, bao, bao.provision(name, ORIGIN))
        log.seal(4)
        fork = log.of(tmp_path / f"{name}-fork", state=True)
        first = log.epochs()
        with fork.held_at_start() as held:
            if held is not None:
                caught = True
                log.seal(1)
                # Only now it goes on with its secret, and signs.
                held.send_signal(signal.SIGCONT)
                held.communicate(b"entry\n", 60)
                assert held.returncode == 0
    # Both carried on from the close: no file tells them apart. Whoever has seen both of them can.
    assert fork.verify()[:2] == log.verify()[:2] == (0, [])
    assert fork.verify(memory="both")[:2] == (0, [])
    assert log.verify(memory="both")[:2] == (1, ["log_forked"])
    status, found = fork.found()
    assert status == 1
    assert ("issued_not_sealed", first) in found
    # The thief's call came before anything was signed; but the real log would know of a call that it made.
    status, found = log.found()
    assert status == 1
    assert {kind for kind, _ in found} == {"issued_not_sealed", "signed_not_sealed"}


def test_wrapped_by_hand(log: TransitLog) -> None:
    """Who may encrypt with the epoch key forges an epoch that is merely cold: no call issued its secret."""
    log.seal(3)
    forged = log.epochs()
    Forger.of(log).start("cold").block(b"a foreign line\n").end()
    assert log.verify() == (3, ["cold_start"], [])
    status, found = log.found()
    assert status == 1
    assert set(found) >= {("sealed_not_issued", forged), ("wrapped_by_hand", forged)}


def test_replayed_secret(log: TransitLog) -> None:
    """An epoch with the wrapped secret of another, and a call that gave the thief one: it is not that one."""
    log.seal(3)
    forged = log.epochs()
    Forger.of(log, replays=True).start("cold").block(b"a foreign line\n").end()
    assert log.verify()[0] == 1
    status, found = log.found()
    assert status == 1
    assert ("other_secret", forged) in found


def test_recovered_in_secret(log: TransitLog) -> None:
    """A secret that somebody got back, the agent or whoever it was, stands in the trail."""
    log.seal(3)
    name = log.keys.name
    assert log.verify()[0] == 0
    options = ("--recovered-by", f"{name}-verifier", "--signing-key", log.signing_key)
    assert log.found(*options) == (0, [])
    log.recover_with(log.bao.root_token)
    assert log.found(*options) == (1, [("recovered_by_stranger", -1)])
    # With a wider policy than the shipped one, the agent could have done it.
    policy = f'path "{log.keys.mount}/decrypt/{name}-epoch" {{ capabilities = ["update"] }}'
    log.bao.request("PUT", f"sys/policies/acl/{name}-wide", {"policy": policy})
    log.bao.request("POST", f"auth/approle/role/{name}-agent", {"token_policies": [f"{name}-wide"]})
    log.recover_with(log.bao.login(log.keys.agent))
    assert log.found() == (1, [("recovered_by_agent", -1)])


def test_key_handed_out(log: TransitLog) -> None:
    """A key that was made exportable and exported: whoever has it leaves no more calls."""
    log.seal(3)
    path = f"{log.keys.mount}/keys/{log.keys.name}-epoch/config"
    log.bao.request("POST", path, {"exportable": True})
    status, result = log.reconcile()
    assert status == 0
    changes = [item["detail"] for item in result["notes"] if item["kind"] == "key_changed"]
    assert any(f"update keys/{log.keys.name}-epoch/config" in detail for detail in changes)
    log.bao.request("GET", f"{log.keys.mount}/export/encryption-key/{log.keys.name}-epoch")
    assert log.found() == (1, [("key_exported", -1)])


def test_digest_signed(bao: OpenBao, tmp_path: Path) -> None:
    """A checkpoint that is signed by its digest leaves a call too: what it is over stays open."""
    keys = bao.provision(next(_names), ORIGIN, checkpoint_type="ecdsa-p256")
    log = TransitLog(tmp_path / "log", bao, keys)
    log.seal(3)
    # The public half is for everybody.
    bao.answer("GET", f"{keys.mount}/export/public-key/{keys.name}-checkpoint")
    assert log.found() == (0, [])
    body = {"input": b64encode(bytes(32)), "prehashed": True, "hash_algorithm": "sha2-256"}
    # The agent's own policy does not allow that: some other role's does.
    path = f"{keys.mount}/sign/{keys.name}-checkpoint"
    assert bao.answer("POST", path, body, token=bao.login(keys.agent))[0] == 403
    bao.request("POST", path, body)
    assert log.found() == (3, [("signed_unclear", -1)])


def test_issued_in_a_store(log: TransitLog) -> None:
    """A key-value store takes the path and the data of an issue call: that issues nothing."""
    log.seal(3)
    forged = log.epochs()
    forger = Forger.of(log)
    next_epoch = Context(ORIGIN, forger.log, forger.epoch + 1, forger.tag)
    context = b64encode(next_epoch.encode())
    forger.start("cold").block(b"a foreign line\n").end()
    log.pass_by(forger.time)
    log.bao.request("POST", "sys/mounts/store", {"type": "kv"})
    log.bao.request(
        "POST", "sys/mounts/store/tune", {"audit_non_hmac_request_keys": ["context", "ciphertext"]}
    )
    log.bao.request("PUT", f"store/datakey/plaintext/{log.keys.name}-epoch", {"context": context})
    status, found = log.found()
    assert status == 1
    assert ("sealed_not_issued", forged) in found


# --- what is nobody's attack ------------------------------------------------------------------------------


def test_stopped_between_call_and_answer(log: TransitLog) -> None:
    """The call is lost, the close is signed after it: the signature is over this log, so it says nothing."""
    with log.agent() as agent:
        log.send(agent, 3)
        log.stop_between(agent)
        agent.process.send_signal(signal.SIGTERM)
        agent.process.send_signal(signal.SIGCONT)
        assert agent.process.wait(60) == 0, agent.said
    assert log.reconcile()[0] == 0
    log.seal(2)
    assert log.found() == (0, [])


def test_probes_of_doctor(log: TransitLog) -> None:
    """The doctor's calls are of another log, or refused: the log stays clean, the refusals are told."""
    log.seal(3)
    before = log.reconcile()[1]["calls"]
    done = log.doctor()
    assert b"epoch secrets are issued" in done.stdout, done.stderr
    issue = f"{log.keys.mount}/datakey/plaintext/{log.keys.name}-epoch"
    # Without a context a derived key issues nothing, and says so with 400.
    assert log.bao.answer("POST", issue, {})[0] >= HTTPStatus.BAD_REQUEST
    status, result = log.reconcile("--recovered-by", f"{log.keys.name}-verifier")
    assert (status, result["problems"], result["calls"]) == (0, [], before)
    assert {item["kind"] for item in result["notes"]} == {"denied", "key_changed"}


def test_another_log_of_the_same_name(log: TransitLog, tmp_path: Path) -> None:
    """Begun anew under the same origin and keys: told, and whose signatures they are stays open."""
    log.seal(3)
    again = TransitLog(tmp_path / "again", log.bao, log.keys)
    again.seal(3)
    status, result = log.reconcile()
    assert status == 3
    assert {item["kind"] for item in result["problems"]} == {"signed_unclear"}
    assert {item["kind"] for item in result["notes"]} == {"other_log", "key_changed"}
