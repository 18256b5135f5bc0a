"""Files beside a log that ask a reader for as much work as their bytes can buy.

Proofs, trust files, policies of witnesses and trails of key backends; each function makes one of about `size`
bytes in a folder that has a log, and gives its path.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.bench.bulk import SOURCE
from tests.reference.keys import ORIGIN, Keys, hashed, signed_note, text
from tests.reference.notes import key_id, sha
from tests.reference.trust import root_of


def _file(folder: Path, data: bytes) -> Path:
    path = folder / "input"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


# --- proofs -----------------------------------------------------------------------------------------------


def _proof(keys: Keys, before: bytes, last: str = 'sign 1 {"run":0}') -> bytes:
    entry = b"entry\n"
    data = before + entry
    count = data.count(b"\n")
    payload = f"block 0 0 {count} 0 {len(data)} 1 {text(sha(data))} {SOURCE}"
    leaves = [sha(b"\x00", payload.encode()), sha(b"\x00", last.encode())]
    note = signed_note(ORIGIN, 2, root_of([sha(b"\x01", *leaves)]), keys)
    lines = ["epochseal/v1/proof", payload, f"before {text(before)}", f"entry {count - 1} {text(entry)}"]
    lines += ["after ", f"last {last}", f"path {text(leaves[0])}", "c2sp.org/tlog-proof@v1", "index 0"]
    return "\n".join((*lines, text(leaves[1]), "", "")).encode() + note


def proof_of_short_entries(folder: Path, keys: Keys, size: int) -> Path:
    """The block has as many entries as it has bytes."""
    return _file(folder, _proof(keys, b"\n" * (size * 3 // 4)))


def proof_with_long_paths(folder: Path, keys: Keys, size: int) -> Path:
    """Far more hashes than a tree has levels."""
    whole = _proof(keys, b"")
    line = f"path {text(bytes(32))}\n".encode()
    return _file(folder, whole.replace(b"path ", line * (size // len(line)) + b"path ", 1))


def proof_of_newlines(folder: Path, keys: Keys, size: int) -> Path:
    """Lines without anything in them."""
    whole = _proof(keys, b"")
    return _file(folder, whole.replace(b"c2sp.org", b"x\n" * (size // 2) + b"c2sp.org", 1))


def proof_with_long_line(folder: Path, keys: Keys, size: int) -> Path:
    """A number and a payload without an end."""
    whole = _proof(keys, b"")
    return _file(folder, whole.replace(b"entry 0", b"entry " + b"9" * size, 1))


# --- trust files --------------------------------------------------------------------------------------------


def _trust(keys: Keys, lines: list[str], note: bytes) -> bytes:
    head = ["epochseal/v1/trust", f"log {text(bytes(32))}", f"checkpoint-key {keys.vkey()}"]
    return "\n".join((*head, *lines, "", "")).encode() + note


def trust_of_many_starts(folder: Path, keys: Keys, size: int) -> Path:
    """Starts that were accepted, more than a trust file holds."""
    starts = [f"start {text(hashed(number))} r" for number in range(size // 52)]
    note = signed_note(ORIGIN, 1, bytes(32), keys)
    return _file(folder, _trust(keys, [f"epoch-key {keys.key_id}", *starts], note))


def trust_of_many_keys(folder: Path, keys: Keys, size: int) -> Path:
    """Keys that were accepted: as many as it holds, each with the longest reason, then empty lines."""
    lines = [f"epoch-key {keys.key_id}"]
    for number in range(1000):
        public = Ed25519PrivateKey.from_private_bytes(hashed("accepted", number)).public_key()
        raw = text(b"\x01" + public.public_bytes(Encoding.Raw, PublicFormat.Raw))
        lines.append(f"accepted-key {ORIGIN}+{key_id(public, ORIGIN).hex()}+{raw} {'é' * 500}")
    note = signed_note(ORIGIN, 1, bytes(32), keys)
    lines += [""] * 0
    return _file(folder, _trust(keys, lines, note) + b"x" * max(size - 1_200_000, 0))


# --- policies -----------------------------------------------------------------------------------------------


def _witness(number: int) -> str:
    name, key = f"w{number}", b"\x04" + hashed("witness", number)
    told = sha(name.encode(), b"\n", key)[:4].hex()
    return f"witness {name} {name}+{told}+{text(key)}"


def policy_of_many_witnesses(folder: Path, _keys: Keys, size: int) -> Path:
    """Each with a key of its own."""
    lines = [_witness(number) for number in range(size // 85)]
    return _file(folder, "\n".join((*lines, "quorum w0", "")).encode())


def policy_of_deep_groups(folder: Path, _keys: Keys, size: int) -> Path:
    """Each group holds the one before."""
    groups = [f"group g{number + 1} any g{number}" for number in range(size // 26)]
    return _file(
        folder, "\n".join((_witness(0), "group g0 any w0", *groups, f"quorum g{len(groups)}", "")).encode()
    )


# --- trails -------------------------------------------------------------------------------------------------


def _vault_line(number: int, **data: object) -> str:
    request: dict[str, object] = {
        "id": f"r{number}",
        "path": "transit/datakey/plaintext/kek",
        "operation": "update",
    }
    context = f"log={ORIGIN};;id={text(bytes(32))};epoch={number};prev={text(hashed(number))}"
    request |= {"mount_type": "transit", "data": {"context": text(context.encode())} | data}
    line = {"time": "2026-01-01T00:00:00Z", "type": "response", "request": request}
    return json.dumps(line, separators=(",", ":"))


def _vault(folder: Path, size: int, line: Callable[[int], str]) -> Path:
    count = size // len(line(0)) + 1
    return _file(folder, "".join(line(number) + "\n" for number in range(count)).encode())


def trail_of_calls(folder: Path, _keys: Keys, size: int) -> Path:
    """Issue calls that the log knows nothing of."""
    return _vault(folder, size, _vault_line)


def trail_of_signatures(folder: Path, _keys: Keys, size: int) -> Path:
    """Signatures in one batch: each item is a call."""
    batch = [{"input": text(hashed(number))} for number in range(size // 60)]
    line = _vault_line(0, batch_input=batch).replace("datakey/plaintext/kek", "sign/kek")
    return _file(folder, (line + "\n").encode())


def trail_of_empty_items(folder: Path, _keys: Keys, size: int) -> Path:
    """A batch of items that take two bytes each."""
    line = _vault_line(0, batch_input=[0] * (size // 2))
    return _file(folder, (line + "\n").encode())


def trail_of_empty_lines(folder: Path, _keys: Keys, size: int) -> Path:
    """Nothing but newlines behind one line."""
    return _file(folder, (_vault_line(0) + "\n" * size).encode())


def trail_of_damaged_lines(folder: Path, _keys: Keys, size: int) -> Path:
    """Lines that look wanted, and are no JSON."""
    return _file(folder, (_vault_line(0) + "\n" + "/keys/\n" * (size // 7)).encode())


def trail_of_deep_json(folder: Path, _keys: Keys, size: int) -> Path:
    """Lists in lists, and a number of 10^5 digits."""
    deep = _vault_line(0, x="DEEP").replace('"DEEP"', "[" * (size // 2) + "]" * (size // 2))
    long = _vault_line(1, x=1).replace('"x":1', '"x":' + "9" * 100_000)
    return _file(folder, "\n".join((_vault_line(2), deep, long, "")).encode())


def trail_packed(folder: Path, _keys: Keys, size: int) -> Path:
    """Newlines, 1030 times as many as the file has bytes."""
    line = (_vault_line(0) + "\n").encode()
    member = gzip.compress(b"\n" * (1 << 26), mtime=0)
    return _file(folder, gzip.compress(line, mtime=0) + member * max(size // len(member), 1))


def trail_of_members(folder: Path, _keys: Keys, size: int) -> Path:
    """Gzip members without content."""
    line = (_vault_line(0) + "\n").encode()
    member = gzip.compress(b"", mtime=0)
    return _file(folder, gzip.compress(line, mtime=0) + member * (size // len(member)))


def cloudtrail_of_calls(folder: Path, _keys: Keys, size: int) -> Path:
    """One object with all the calls."""
    context = {"origin": ORIGIN, "log": text(bytes(32)), "epoch": "1", "prev": text(bytes(32))}
    parameters = {"encryptionContext": context, "keyId": "arn:aws:kms:eu-west-1:1:key/1"}
    record: dict[str, object] = {
        "eventTime": "2026-01-01T00:00:00Z",
        "eventSource": "kms.amazonaws.com",
        "eventID": "E",
    }
    record |= {"eventName": "GenerateDataKey", "requestParameters": parameters, "userIdentity": {"arn": "a"}}
    form = json.dumps(record, separators=(",", ":"))
    records = [form.replace('"E"', f'"E{number}"') for number in range(size // len(form) + 1)]
    return _file(folder, ('{"Records":[' + ",".join(records) + "]}").encode())


def cloudtrail_of_nothing(folder: Path, _keys: Keys, size: int) -> Path:
    """Records without anything in them."""
    return _file(folder, ('{"Records":[{}' + ",{}" * (size // 3) + "]}").encode())


Maker = Callable[[Path, Keys, int], Path]
PROOFS: tuple[Maker, ...] = (
    proof_of_short_entries,
    proof_with_long_paths,
    proof_of_newlines,
    proof_with_long_line,
)
TRUSTS: tuple[Maker, ...] = (trust_of_many_starts, trust_of_many_keys)
POLICIES: tuple[Maker, ...] = (policy_of_many_witnesses, policy_of_deep_groups)
TRAILS: tuple[Maker, ...] = (
    trail_of_calls,
    trail_of_signatures,
    trail_of_empty_items,
    trail_of_empty_lines,
    trail_of_damaged_lines,
    trail_of_deep_json,
    trail_packed,
    trail_of_members,
    cloudtrail_of_calls,
    cloudtrail_of_nothing,
)
