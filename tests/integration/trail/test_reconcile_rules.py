"""The rules of docs/reconcile.md where a trail does not show what was signed; damaged trails; keys."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from epochseal.encoding import b64encode
from epochseal.errors import FormatError
from epochseal.trail import read_trail
from tests.integration.trail import cloudtrail as ct
from tests.integration.trail.test_reconcile_cloudtrail import SPACING, Case, write
from tests.reference.keys import Keys
from tests.reference.maker import Maker

SESSION = ct.AGENT.rpartition("/")[0]


@pytest.fixture
def case(keys: Keys, tmp_path: Path) -> Case:
    """An honest log of six epochs and its honest trail."""
    write(tmp_path / "log", keys).close()
    return Case(tmp_path / "log", tmp_path, ct.honest(tmp_path / "log"))


def stopped(path: Path, keys: Keys, *, signed: bool = True) -> tuple[Maker, Case, str]:
    """A log that was closed after three epochs while a call was under way, and the tag that it quoted."""
    writer = write(path / "log", keys, epochs=3)
    writer.abandoned.append((writer.size - 1, writer.tag))
    tag = read_tag(writer)
    writer.time += SPACING
    writer.close(signed=signed)
    case = Case(path / "log", path, ct.honest(path / "log"))
    case.events.append(ct.sign(writer.time + 1000))
    return writer, case, tag


def read_tag(writer: Maker) -> str:
    """The tag of the last line, as a trail shows it."""
    return b64encode(writer.tag)


def test_close_signed_after_a_lost_call(keys: Keys, tmp_path: Path) -> None:
    """An agent that is stopped between call and answer owes one signature, and may ask for it twice."""
    writer, case, tag = stopped(tmp_path, keys)
    case.events.append(ct.issue(case.headers[-1], writer.time - 20_000, tag=tag, epoch=3))
    assert case.kinds() == (0, [])
    writer.time += SPACING
    writer.begin("carry").close()
    case.events += ct.honest(case.log)[-4:]
    assert case.kinds() == (0, [])
    case.events.append(ct.sign(writer.time - SPACING + 5000))
    assert case.kinds() == (3, ["order_unclear"])
    case.events.append(ct.sign(writer.time - SPACING + 8000))
    assert case.kinds() == (1, ["issued_not_sealed"])


def test_close_that_is_signed_at_the_next_start(keys: Keys, tmp_path: Path) -> None:
    """Its note stands behind the next epoch line: it may have come after a call that the start has lost."""
    writer, case, _ = stopped(tmp_path, keys, signed=False)
    size, tag = writer.size, read_tag(writer)
    writer.abandoned = [(size - 1, writer.tag)]
    writer.time += SPACING
    writer.begin("carry", signed=False).note(size=size).note().close()
    case = Case(case.log, case.folder, ct.honest(case.log))
    header = case.headers[-1]
    case.events += [ct.issue(header, header.time - 30_000, tag=tag), ct.sign(header.time - 20_000)]
    assert case.kinds() == (0, [])


def test_asked_again_for_an_epoch_that_runs(case: Case) -> None:
    """A call for an epoch that has its secret, with another tag of the log: the caller has another log."""
    header = case.headers[3]
    case.events.append(ct.issue(header, header.time + 20_000, tag=case.headers[2].prev))
    status, result = case.reconcile()
    assert status == 1
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("issued_not_sealed", 3)]


def test_going_back_in_what_has_expired(keys: Keys, tmp_path: Path) -> None:
    """Of expired epochs only the order of calls is left: a branch from there goes back in it."""
    writer = Maker(tmp_path / "log", keys).begin("genesis")
    for _ in range(5):
        writer.time += SPACING
        writer.turn("segment")
    writer.close()
    case = Case(tmp_path / "log", tmp_path, ct.honest(tmp_path / "log"))
    headers = case.headers
    for path in sorted((case.log / "segments").iterdir())[:4]:
        path.unlink()
    assert [header.epoch for header in case.headers] == [2, 3, 4, 5]
    status, result = case.reconcile()
    assert (status, [item["kind"] for item in result["notes"]]) == (0, ["expired"])
    case.events.append(ct.issue(headers[1], headers[3].time))
    status, result = case.reconcile()
    assert status == 1
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("issued_not_sealed", 1)]


def test_session_of_the_same_role(case: Case) -> None:
    """Who assumes the agent's role anew is the agent under any name; a named role covers its sessions."""
    header = case.headers[1]
    case.events.append(ct.recover(header, header.time + 5000, f"{SESSION}/somebody-else"))
    assert case.kinds() == (1, ["recovered_by_agent"])
    case.events[-1] = ct.recover(header, header.time + 5000)
    assert case.kinds("--recovered-by", ct.VERIFIER.rpartition("/")[0]) == (0, [])


def test_two_issuers(case: Case) -> None:
    """A second caller that has secrets issued is told."""
    case.events[1] = {**case.events[1], "userIdentity": {"arn": "arn:aws:iam::111122223333:user/mallory"}}
    status, result = case.reconcile()
    assert status == 0
    assert [item["kind"] for item in result["notes"]] == ["issuers"]


WRAPPED = {"Encrypt": "encryptionContext", "ReEncrypt": "destinationEncryptionContext"}


@pytest.mark.parametrize("name", WRAPPED)
def test_wrapped_by_hand(case: Case, name: str) -> None:
    """A secret of the caller's choice under a context of the log."""
    header = case.headers[2]
    context = ct.issue(header, 0)["requestParameters"]["encryptionContext"]
    case.events.append(ct.event(name, header.time + 3000, **{WRAPPED[name]: context}))
    assert "wrapped_by_hand" in case.kinds()[1]


def test_key_policy_changed(case: Case) -> None:
    """What was done to a key of the log is told."""
    changed = ct.event("PutKeyPolicy", case.headers[2].time, "root", policyName="default")
    key = {"accountId": ct.ACCOUNT, "type": "AWS::KMS::Key", "ARN": ct.CHECKPOINT_KEY}
    case.events.append({**changed, "resources": [key]})
    status, result = case.reconcile("--signing-key", ct.CHECKPOINT_KEY)
    assert status == 0
    assert [(item["kind"], item["who"]) for item in result["notes"]] == [("key_changed", "root")]


def test_file_missing_in_the_middle(case: Case) -> None:
    """An epoch between the files that are there is not covered: it is not called forged."""
    header = case.headers[2]
    before = [item for item in case.events if item["eventTime"] < ct.sign(header.time - 10_000)["eventTime"]]
    after = [item for item in case.events if item["eventTime"] > ct.sign(header.time + 10_000)["eventTime"]]
    paths = [
        ct.deliver(case.folder / name, events, 1)[0]
        for name, events in (("before", before), ("after", after))
    ]
    status, result = case.reconcile(paths=paths)
    assert status == 3
    assert [(item["kind"], item["epoch"]) for item in result["problems"]] == [("not_covered", 2)]


def test_report(case: Case) -> None:
    """The findings as a page without script or network; names of callers are text in it and no markup."""
    header = case.headers[1]
    case.events.append(ct.recover(header, header.time + 5000, "<b>mallory</b>"))
    page = case.folder / "page.html"
    assert case.kinds("--recovered-by", ct.VERIFIER, "--report", str(page)) == (1, ["recovered_by_stranger"])
    text = page.read_text()
    assert "&lt;b&gt;mallory&lt;/b&gt;" in text
    assert "<h1>contradiction</h1>" in text
    for forbidden in ("<script", "http://", "https://", "<b>mallory"):
        assert forbidden not in text


@pytest.mark.parametrize("name", ["StopLogging", "PutEventSelectors", "DeleteTrail"])
def test_recording_changed(case: Case, name: str) -> None:
    """What was done to a trail of the account is told: it can be why calls are missing."""
    parameter = "trailName" if name == "PutEventSelectors" else "name"
    changed = {
        **ct.event(name, case.headers[2].time, "root"),
        "requestParameters": {parameter: "audit-trail"},
        "eventSource": "cloudtrail.amazonaws.com",
        "resources": None,
    }
    case.events.append(changed)
    status, result = case.reconcile()
    assert (status, result["problems"]) == (0, [])
    (note,) = result["notes"]
    assert (note["kind"], note["who"]) == ("trail_changed", "root")
    assert note["detail"].startswith(f"audit-trail: {name}, 1 calls")
    # An event of that name of another service is another event.
    case.events[-1]["eventSource"] = "other.amazonaws.com"
    assert case.reconcile()[1]["notes"] == []


# --- files of audit devices --------------------------------------------------------------------------------


def line(
    path: str,
    *,
    operation: str = "update",
    number: str = "1",
    time: str = "2026-01-01T00:00:00Z",
    **more: object,
) -> bytes:
    """A response as a device writes it."""
    request = {"id": number, "path": path, "operation": operation, "mount_type": "transit"}
    found = {"time": time, "type": "response", "request": {**request, **more}, "auth": {"display_name": "x"}}
    return json.dumps(found).encode() + b"\n"


def test_line_that_a_crash_cut(tmp_path: Path) -> None:
    """A damaged line among others is a gap of the trail, and the rest is read."""
    path = tmp_path / "audit.log"
    whole = line("transit/datakey/plaintext/k")
    path.write_bytes(whole + line("transit/sign/k")[:-40] + b"\n" + line("transit/sign/k", number="2"))
    trail = read_trail([path])
    assert [call.operation for call in trail.calls] == ["issue", "sign"]
    assert trail.gaps == ["audit.log has 1 lines that cannot be read"]


def test_one_number_for_two_calls(tmp_path: Path) -> None:
    """Two devices may differ in salt and moment; in what was called they may not."""
    first, second = tmp_path / "first.log", tmp_path / "second.log"
    first.write_bytes(line("transit/sign/k", data={"input": "hmac-sha256:aa"}))
    second.write_bytes(
        line("transit/sign/k", time="2026-01-01T00:00:00.000001Z", data={"input": "hmac-sha256:bb"})
    )
    (call,) = read_trail([first, second]).calls
    assert call.message.hashes == {"hmac-sha256:aa", "hmac-sha256:bb"}
    second.write_bytes(line("transit/sign/other"))
    with pytest.raises(FormatError, match="two different calls"):
        read_trail([first, second])
    shutil.copy(first, second)
    assert read_trail([first, second]).doubled == 1


def test_order_within_a_millisecond(tmp_path: Path) -> None:
    """A device writes nanoseconds, and calls are put in order by them."""
    path = tmp_path / "audit.log"
    path.write_bytes(
        line("transit/sign/k", number="2", time="2026-01-01T00:00:00.000000002Z")
        + line("transit/datakey/plaintext/k", time="2026-01-01T00:00:00.000000001Z")
    )
    assert [call.operation for call in read_trail([path]).calls] == ["issue", "sign"]


def test_device_switched_off(tmp_path: Path) -> None:
    """Whoever switches an audit device off leaves one last line about it; a hash by one is none."""
    path = tmp_path / "audit.log"
    path.write_bytes(
        line("sys/audit/file", operation="delete", mount_type="system")
        + line("sys/audit/other", mount_type="system", number="2")
        + line("sys/audit-hash/file", mount_type="system", number="3")
        + line("sys/audit", operation="read", mount_type="system", number="4")
    )
    refused = json.loads(line("sys/audit/file", operation="delete", mount_type="system", number="5"))
    # What OpenBao answers, whose devices its configuration file names.
    refused["error"] = "1 error occurred:\n\t* invalid request\n\n"
    path.write_bytes(path.read_bytes() + json.dumps(refused).encode() + b"\n")
    calls = read_trail([path]).calls
    assert [(call.operation, call.key, call.detail, bool(call.refused)) for call in calls] == [
        ("record", "sys/audit/file", "switched off", False),
        ("record", "sys/audit/other", "switched on", False),
        ("record", "sys/audit/file", "switched off", True),
    ]


def test_refused_by_the_engine(tmp_path: Path) -> None:
    """A refusal may stand in the answer's data, of a whole call or of one item of a batch."""
    path = tmp_path / "audit.log"
    batch = json.loads(line("transit/datakey/plaintext/k", number="2", data={"batch_input": [{}, {}]}))
    batch["response"] = {"data": {"batch_results": [{"ciphertext": "vault:v1:AA=="}, {"error": "no"}]}}
    single = json.loads(line("transit/export/encryption-key/k", operation="read"))
    single["response"] = {"data": {"error": "hmac-sha256:aa"}}
    path.write_bytes(json.dumps(single).encode() + b"\n" + json.dumps(batch).encode() + b"\n")
    assert [bool(call.refused) for call in read_trail([path]).calls] == [True, False, True]
