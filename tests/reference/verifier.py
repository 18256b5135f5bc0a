"""A second verifier, written from docs/format.md alone; numbers in brackets are sections of that page.

It shares no line with epochseal: where the two agree, the page is what both do. It stops at the first
problem of class tampered and does not name it, reads whole files once, and knows no zstd, no witnesses, no
keys but those of `file:`.
"""

from __future__ import annotations

import hmac
import re
import stat
import sys
import time
import zlib
from itertools import pairwise
from pathlib import Path

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.reference.notes import MAX, Line, PublicKey, b64, need, parse_line, sha
from tests.reference.trust import Chain, Given, Judge, Pins, log_id_of, root_of

Place = tuple[int, str]
"""Number and stem of a segment."""
Stems = dict[Place, dict[str, Path]]
"""The files of each segment by their endings."""
PrivateKey = x25519.X25519PrivateKey
UNTRUSTED = {
    *("unknown_key", "key_retired", "not_witnessed", "start_unsigned", "epoch_unsigned"),
    *("wrong_origin", "wrong_log", "key_compromised"),
}
STATUS = {"verified": 0, "tampered": 1, "incomplete": 3, "untrusted": 4, "empty": 5, "no verdict": 6}
CONTENT = {"log", "log.gz", "log.zst"}
FILE = re.compile(
    r"([0-9]{6}|[1-9][0-9]{6,17})-([0-9]{8}T[0-9]{6}Z)\.(log|log\.gz|log\.zst|seal|unsealed|torn)", re.ASCII
)


def mac(key: bytes, *data: bytes) -> bytes:
    """HMAC, which is HKDF-Extract; HKDF-Expand to 32 bytes is `mac(key, info, 0x01)` [3.8, 6.5]."""
    return hmac.digest(key, b"".join(data), "sha256")


def context_of(head: Line) -> bytes:
    """[6.1]."""
    start = f"log={head['origin']};".encode()
    rest = f"id={head['log']};epoch={head['epoch']};prev={head['asked']['tag']}".encode()
    return start + b";" * (-len(start) % 3) + rest


def recover(private: PrivateKey, wrapped: bytes, context: bytes) -> bytes:
    """[6.2]: the epoch secret."""
    kem, suite, enc = b"HPKE-v1KEM\x00\x20", b"HPKE-v1HPKE\x00\x20\x00\x01\x00\x02", wrapped[:32]
    public = private.public_key().public_bytes_raw()
    prk = mac(b"", kem, b"eae_prk", private.exchange(x25519.X25519PublicKey.from_public_bytes(enc)))
    secret = mac(mac(prk, b"\x00\x20", kem, b"shared_secret", enc, public, b"\x01"), suite, b"secret")
    info = mac(b"", suite, b"info_hash", b"epochseal/v1/wrap", context)
    schedule = b"\x00" + mac(b"", suite, b"psk_id_hash") + info
    key = mac(secret, b"\x00\x20", suite, b"key", schedule, b"\x01")
    nonce = mac(secret, b"\x00\x0c", suite, b"base_nonce", schedule, b"\x01")[:12]
    return AESGCM(key).decrypt(nonce, wrapped[32:], b"")


def sealing_key(secret: bytes, context: bytes) -> bytes:
    """[6.3]: the key that seals a carry."""
    return mac(mac(bytes(32), secret), b"epochseal/v1/carry-seal", sha(context), b"\x01")


def is_regular(path: Path) -> bool:
    """[2.4]."""
    return stat.S_ISREG(path.lstat().st_mode)


def content(path: Path, sealed: int) -> tuple[bytes, bool]:
    """[10.4, 10.5, 14.1]: the plain bytes up to the sealed length, and whether anything is left."""
    raw, plain, members = path.read_bytes(), b"", 0
    if path.suffix == ".log":
        return raw[:sealed], len(raw) > sealed
    if path.suffix == ".zst":
        raise OSError("no zstd here")
    limit = 16 + len(raw) // 1024
    need(raw)
    while raw and len(plain) <= sealed:
        member, members = zlib.decompressobj(31), members + 1
        need(members <= limit)
        plain += member.decompress(raw, sealed + 1 - len(plain))
        need(member.eof or len(plain) > sealed)
        raw = member.unused_data
    return plain[:sealed], len(plain) > sealed


def append_leaf(frontier: list[bytes], size: int, leaf: bytes) -> None:
    """[7.4]."""
    while size & 1:
        leaf, size = sha(b"\x01", frontier.pop(), leaf), size >> 1
    frontier.append(leaf)


def find_stems(folder: Path) -> Stems:
    """[2.2, 2.3]: the segments' files."""
    stems: Stems = {}
    if folder.is_symlink() or folder.exists():
        need(folder.is_dir() and not folder.is_symlink())
        for path in sorted(folder.iterdir()):
            if not path.name.startswith(".") and (found := FILE.fullmatch(path.name)):
                stems.setdefault((int(found[1]), f"{found[1]}-{found[2]}"), {})[found[3]] = path
    return stems


def is_bare(head: Line) -> bool:
    """[9.7]."""
    return bool(head["resumes"] and len(head["lines"]) == 1)


class Verifier:
    """One run over a log: what was read, and the tree, tag and keys at the place that it has reached."""

    def __init__(self, private: list[PrivateKey], given: Given) -> None:
        self.private = {f"file:{sha(key.public_key().public_bytes_raw()).hex()}": key for key in private}
        self.chain, self.given = Chain(), given
        self.frontier, self.tag, self.offset = list[bytes](), b"", 0
        self.key = b""  # of the running epoch; empty: unknown

    def read(self, logdir: Path, stems: Stems) -> int:
        """[13]; the number of the last segment that has expired."""
        need(all(before + 1 == after for (before, _), (after, _) in pairwise(sorted(stems))))
        for place in sorted(stems):
            self.segment(place, stems[place], last=place == max(stems))
        checkpoint = logdir / "checkpoint"
        if checkpoint.is_symlink() or checkpoint.exists():
            need(is_regular(checkpoint))
            self.chain.notes.append((MAX, checkpoint.read_bytes()))
        return Judge(self.chain, self.given).judge()

    def segment(self, place: Place, files: dict[str, Path], *, last: bool) -> None:
        """[13.3] and the lines."""
        need(all(map(is_regular, files.values())) and len(files.keys() & CONTENT) <= 1)
        chain, ending = self.chain, "".join(files.keys() & CONTENT)
        if "seal" not in files or not ending:
            (only,) = [name for name in files if name in {"seal", ending}]
            used = any(content(files[only], 0) if only in CONTENT else [files[only].stat().st_size])
            need(last and (not used or only == "log"))
            chain.kinds |= {"seal_behind"} if used else set()
        else:
            self.lines(place, files["seal"], files[ending], last=last)
        closed = not chain.epochs or chain.epochs[-1]["ended"] == "close"
        for name, kind in (("unsealed", "unsealed_bytes"), ("torn", "torn_lines")):
            bad = "seal" not in files or (closed and name == "unsealed")
            chain.aside += [(place[0], "bad_unsealed" if bad else kind)] if name in files else []

    def lines(self, place: Place, seal: Path, log: Path, *, last: bool) -> None:
        """[13.3] the tear, and [13.4] the content of one segment."""
        *raws, torn = seal.read_bytes().split(b"\n")
        whole = next((at for at, raw in enumerate(raws) if b"\x00" in raw), len(raws)) if last else len(raws)
        if whole < len(raws) or torn:
            need(last)
            self.chain.kinds.add("torn_line")
        items = [parse_line(raw) for raw in raws[:whole]]
        need(not items or items[0]["kind"] == "epoch")
        blocks = [item for item in items if item["kind"] == "block"]
        sealed = blocks[-1]["offset"] + blocks[-1]["bytes"] if blocks else 0
        data, more = content(log, sealed)
        need(items or (last and (not more or log.suffix == ".log")))
        self.chain.kinds |= {"seal_behind"} if more and not items else set()
        self.offset = 0
        for item in items:
            self.line(item, place, data, may_lag=last and log.suffix == ".log" and len(data) < sealed)
        is_open = last and log.suffix == ".log" and (not items or self.chain.epochs[-1]["ended"] != "close")
        need(not more or is_open)

    def line(self, line: Line, place: Place, data: bytes, *, may_lag: bool) -> None:
        """[13.4]."""
        chain = self.chain
        if line["kind"] == "note":
            chain.notes.append((chain.size, line["raw"]))
            return
        if line["kind"] == "epoch":
            self.begin(line, *place)
        head = chain.epochs[-1]
        need(line["index"] == chain.size and not head["ended"])
        if self.key:
            need(line["mac"] == mac(self.key, b"epochseal/v1/tag", self.tag, line["leaf"]))
            self.key = mac(self.key, b"epochseal/v1/next\x01")
        self.tag = line["mac"]
        append_leaf(self.frontier, chain.size, line["leaf"])
        chain.size += 1
        signable = line["kind"] in {"epoch", "sign"} or line.get("reason") == "close"
        line["above"] = root_of(self.frontier) if signable else b""
        line |= {"head": head, "holds": bool(self.key)}
        head["lines"].append(line)
        if line["kind"] == "block":
            self.block(line, data, may_lag=may_lag)
        need("next" not in line or line["next"]["epoch"] == head["epoch"] + 1)
        if line["kind"] == "end":
            need([line["entries"], line["bytes"]] == head["sums"])
            head["ended"] = line["reason"]
            head["hands_on"] = mac(self.key, b"epochseal/v1/carry\x01") if self.key else b""

    def block(self, line: Line, data: bytes, *, may_lag: bool) -> None:
        """[13.4]: a block line and its entries."""
        chain, head, after = self.chain, line["head"], line["offset"] + line["bytes"]
        need((line["first"], line["offset"]) == (chain.entries, self.offset))
        if may_lag and line["count"] and after > len(data):
            chain.short.append(line["index"])
        else:
            stored = data[line["offset"] : after]
            need(
                len(stored) == line["bytes"] and sha(stored) == line["digest"] and stored[-1:] in {b"", b"\n"}
            )
        last_time = head["time"] + head["interval"] + head["max_overdue"]
        chain.kinds |= {"epoch_overrun"} if line["time"] > last_time else set()
        chain.entries, self.offset, chain.time = chain.entries + line["count"], after, line["time"]
        head["sums"] = [head["sums"][0] + line["count"], head["sums"][1] + line["bytes"]]

    def begin(self, head: Line, segment: int, stem: str) -> None:
        """[13.5] and the keys of [13.4]; from here on the chain goes on from what this epoch line says."""
        chain, link = self.chain, head["link"]
        when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(min(head["time"] // 1000, 253402300799)))
        before: Line = chain.epochs[-1] if chain.epochs else {}
        opens = not before or before["segment"] != segment
        need(head["segment"] == segment and (not opens or stem == f"{segment:06}-{when}"))
        head |= {"before": before, "lines": [], "sums": [0, 0], "ended": "", "hands_on": b""}
        head["resumes"] = link == "carry" and (not before or before["ended"] == "close" or is_bare(before))
        if before:
            self.join(before, head)
        chain.size, self.frontier, chain.entries = head["index"], [*head["frontier"]], head["first_entry"]
        self.key, self.tag, chain.time = b"", b64(head["prev"]), head["time"]
        chain.epochs.append(head)
        if self.given.keyed and head["key"] not in self.private:
            chain.kinds.add("unknown_key")
        elif self.given.keyed:
            self.derive(before, head)

    def join(self, before: Line, head: Line) -> None:
        """[13.5]: an epoch that is not the first one present."""
        log = before["log"] if before["epoch"] else log_id_of(before)
        goes_on = (before["origin"], log, before["epoch"] + 1, self.chain.entries, self.chain.size)
        need(goes_on == tuple(head[key] for key in ("origin", "log", "epoch", "first_entry", "index")))
        need((head["frontier"], b64(head["prev"])) == (self.frontier, self.tag) and head["link"] != "genesis")
        need(head["link"] == "cold" or before["ended"] or is_bare(before))
        asked = [(line["index"], line["mac"]) for line in before["lines"]]
        asked = asked if head["link"] == "carry" else asked[-1:]
        need((head["asked"]["line"], b64(head["asked"]["tag"])) in asked)

    def derive(self, before: Line, head: Line) -> None:
        """[6]: the carry that an epoch line holds, and the first key."""
        context = context_of(head)
        secret, carry = recover(self.private[head["key"]], b64(head["wrapped"]), context), bytes(32)
        need(len(secret) == 32)
        if head["link"] == "carry":
            carry = AESGCM(sealing_key(secret, context)).decrypt(bytes(12), b64(head["carry"]), context)
            need(not before or before["hands_on"] in {b"", carry})
            head["hands_on"] = carry  # while it is bare; an `end` replaces it
        self.key = mac(mac(b"epochseal/v1/epoch", secret, carry), sha(head["payload"]), b"\x01")


def verify(
    log: Path,
    keys: Path | list[Path] | None,
    public: Path | None,
    now: int,
    *,
    origin: str = "",
    log_id: str = "",
    age: int = -1,
    strict: bool = False,
    pins: Pins | None = None,
) -> tuple[str, int, set[str]]:
    """Verdict, exit status and kinds of problems (of class tampered none) of the log in a folder.

    `keys` is a folder with `epoch.key` or several (None: public mode), `public` a checkpoint key, `now` ms.
    The rest is optional: the origin and the id expected, the greatest age of an open end (ms; -1: 13.11),
    strict, and what is remembered.
    """
    folders = [keys] if isinstance(keys, Path) else keys or []
    loaded = [serialization.load_pem_private_key((path / "epoch.key").read_bytes(), None) for path in folders]
    signer = public and serialization.load_pem_public_key(public.read_bytes())
    assert isinstance(signer, PublicKey | None)  # for the type
    private = [key for key in loaded if isinstance(key, PrivateKey)]
    given = Given(bool(private), signer, now, origin, log_id, age, strict, pins)
    kinds = set[str]()
    try:
        stems = find_stems(log / "segments")
        halves = {
            place for place, files in stems.items() if "seal" not in files or not files.keys() & CONTENT
        }
        run = Verifier(private, given)
        pruned = run.read(log, {place: stems[place] for place in stems.keys() - halves})
        if any(number > pruned for number, _ in halves):  # [13.3] the others count as removed
            run = Verifier(private, given)
            run.read(
                log, {place: stems[place] for place in stems if place not in halves or place[0] > pruned}
            )
        kinds = run.chain.kinds
        passed = "incomplete" if kinds else "verified" if run.chain.epochs else "empty"
        verdict = "untrusted" if kinds & UNTRUSTED else passed
    except (ValueError, InvalidTag, InvalidSignature, zlib.error):
        verdict = "tampered"
    except OSError:
        verdict = "no verdict"
    return verdict, STATUS[verdict], kinds


if __name__ == "__main__":
    arguments = dict(zip(sys.argv[2::2], sys.argv[3::2], strict=True))
    roles = [
        Path(arguments[key]) if key in arguments else None for key in ("--epoch-key", "--checkpoint-key")
    ]
    when, told = int(arguments.get("--now", time.time_ns() // 10**6)), arguments.get("--log", "")
    signer_file = roles[1] and roles[1] / "checkpoint.pub"
    result = verify(Path(sys.argv[1]), roles[0], signer_file, when, log_id=told)
    sys.exit(sys.stdout.write(" ".join([result[0], *sorted(result[2])]) + "\n") and result[1])
