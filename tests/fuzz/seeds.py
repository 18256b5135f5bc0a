"""Write the first inputs of the corpus: `python -m tests.fuzz.seeds`. Findings lie beside them, and stay."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path

import zstandard

from epochseal.evidence.prover import prove
from tests.fuzz.table import CORPUS
from tests.fuzz.targets.notes import LOG_KEY
from tests.reference.keys import ORIGIN, Keys, signed_note, text
from tests.reference.maker import Maker
from tests.reference.scenarios import entries

VECTORS = Path(__file__).parents[1] / "vectors"
Seeds = dict[str, dict[str, bytes]]
_TIME = "2026-01-01T00:00:0%dZ"
_CONTEXT = {"origin": "log.example/made", "log": "bG9n", "epoch": "1", "prev": "dGFn"}


def main() -> None:
    """Write them all; what is there of the same name is written anew."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = (
            _of_lines(Path(folder))
            | _of_notes()
            | _of_trails()
            | _of_files()
            | _of_clients()
            | _of_operators()
        )
    for target, inputs in seeds.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, data in inputs.items():
            (CORPUS / target / name).write_bytes(data)


def _of_lines(folder: Path) -> Seeds:
    keys, new = Keys(folder / "keys").write(), Keys(folder / "new", "another sentence").write()
    log = Maker(folder / "log", keys)
    entries(log.begin("genesis")).turn()
    entries(log).rotate("epoch", keys, new).hand_over(keys, new).turn("segment")
    log.block(
        b"one more\n", source={"name": "a b", "offset": 9, "file": "f", "esc": 1, "nolf": 1, "gap": 1}
    ).block()
    head = json.loads(_epoch_lines(log)[-1].split(b" ", 2)[2].rsplit(b" ", 1)[0])
    log.prune(head, 1).sign().note().close()
    log.begin("cold", denies=(bytes(32), 5, bytes(32)))
    raw = b"".join(
        path.read_bytes() for path in sorted((folder / "log" / "segments").glob("*.seal"))
    ).splitlines()
    kinds: dict[str, bytes] = {}
    for line in raw:
        kinds.setdefault(f"{line.split(b' ')[0].decode()}-{len(line) >> 7}", line)
    blocks = [line for line in raw if line.startswith(b"block ")][:2]
    for number in range(6):
        log.block(b"entry %d\n" % number)
    columns = [line for line in log.file("seal").read_bytes().splitlines() if line.startswith(b"block ")]
    proof = _proof(folder / "proven", keys)
    return {
        "seal_line": kinds,
        "seal_payload": {
            name: line.rpartition(b" ")[0] for name, line in kinds.items() if name[:4] != "note"
        },
        "block_columns": {"two": b"\n".join(blocks) + b"\n", "six": b"\n".join(columns) + b"\nend 1 {}\n"},
        "segment_names": {
            "pair": b"000001-20260101T000000Z.log\n000001-20260101T000000Z.seal\n.hidden\nother"
        },
        "proof": {"whole": proof},
    }


def _epoch_lines(log: Maker) -> list[bytes]:
    return [line for line in log.file("seal").read_bytes().splitlines() if line.startswith(b"epoch ")]


def _proof(path: Path, keys: Keys) -> bytes:
    log = entries(Maker(path, keys).begin("genesis")).close()
    return prove(log.path, 1).encode()


def _checkpoint() -> bytes:
    return signed_note(ORIGIN, 3, bytes(32), Keys(Path()))


def _of_notes() -> Seeds:
    published = (VECTORS / "cosignature" / "published.note").read_bytes()
    policy = (VECTORS / "cosignature" / "published.policy").read_bytes()
    witness = policy.split(b"witness ")[1].split()[1]
    checkpoint = _checkpoint()
    groups = b"group both all " + b" ".join(item.split()[0] for item in policy.split(b"witness ")[1:]) + b"\n"
    return {
        "note": {"checkpoint": checkpoint, "cosigned": published},
        "vkey": {"log": LOG_KEY.vkey.encode(), "witness": witness},
        "cosignatures": {"published": policy.replace(b"\n\n", b"\n").strip(b"\n") + b"\n\n" + published},
        "policy": {
            "published": policy,
            "groups": b"".join(
                b"%b" % line for line in policy.splitlines(keepends=True) if line[:7] != b"quorum "
            )
            + groups
            + b"quorum both\n",
            "none": b"# nobody\nquorum none\n",
        },
        "submission": {
            "first": b"old 0\n\n" + checkpoint,
            "grown": f"old 1\n{text(bytes(32))}\n\n".encode() + checkpoint,
        },
        "trust_file": {
            path.stem: path.read_bytes()
            for path in sorted((VECTORS / "trust").glob("*.trust"))
            if path.stem in {"honest", "accepted", "two-promises"}
        },
    }


def _vault_line(number: int, path: str, /, **data: object) -> bytes:
    line = {
        "time": _TIME % number,
        "type": "response",
        "auth": {
            "display_name": "approle",
            "entity_id": "e",
            "metadata": {"role_name": "agent"},
            "policies": ["p"],
        },
        "request": {
            "id": f"id-{number}",
            "operation": "update",
            "mount_type": "transit",
            "path": path,
            "data": data,
        },
        "response": {"data": {"ciphertext": "vault:v1:AAAA"}},
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def _event(number: int, name: str, /, **parameters: object) -> dict[str, object]:
    return {
        "userIdentity": {"arn": "arn:aws:sts::111122223333:assumed-role/agent/host"},
        "eventTime": _TIME % number,
        "eventSource": "kms.amazonaws.com",
        "eventName": name,
        "requestParameters": parameters,
        "eventID": f"id-{number}",
        "resources": [{"ARN": "arn:aws:kms:eu-central-1:111122223333:key/1234"}],
    }


def _of_trails() -> Seeds:
    context = text(b"log=o;id=aWQ=;epoch=1;prev=cHJldg==")
    issue = _vault_line(1, "transit/datakey/plaintext/epoch", context=context)
    sign = _vault_line(
        2, "transit/sign/checkpoint", input="hmac-sha256:00", batch_input=[{"input": "AA=="}, 1]
    )
    device = _vault_line(3, "sys/audit/file", type="file")
    events = [
        _event(1, "GenerateDataKey", encryptionContext=_CONTEXT),
        _event(2, "Sign", messageType="RAW"),
        _event(3, "ReEncrypt", sourceEncryptionContext=_CONTEXT, destinationEncryptionContext=_CONTEXT),
        _event(4, "ScheduleKeyDeletion") | {"errorCode": "AccessDenied", "errorMessage": "no"},
        _event(5, "StopLogging", name="trail") | {"eventSource": "cloudtrail.amazonaws.com"},
    ]
    cloudtrail = json.dumps({"Records": events}).encode()
    digest = {
        "digestStartTime": _TIME % 0,
        "digestEndTime": _TIME % 9,
        "digestS3Bucket": "b",
        "digestS3Object": "o",
        "digestSignatureAlgorithm": "SHA256withRSA",
        "logFiles": [{"s3Object": "AWSLogs/digest", "hashValue": "00", "hashAlgorithm": "SHA-256"}],
        "previousDigestS3Object": "o",
        "previousDigestSignature": "00",
    }
    return {
        "vault_audit": {
            "three": issue + sign + device,
            "refused": issue.replace(b'"response":{', b'"error":"no","x":{'),
        },
        "cloudtrail": {"five": cloudtrail, "none": b'{"Records":[]}'},
        "trail_file": {
            "vault": issue + sign,
            "cloudtrail": cloudtrail,
            "cloudtrail.gz": gzip.compress(cloudtrail, mtime=0),
            "members.gz": gzip.compress(issue, mtime=0) + gzip.compress(sign, mtime=0),
        },
        "digest_file": {"one": json.dumps(digest).encode()},
    }


def _of_files() -> Seeds:
    data = b"".join(b"entry %d\n" % number for number in range(50))
    frame, other = (
        zstandard.ZstdCompressor(write_checksum=True).compress(data),
        zstandard.compress(b"x" * 100_000),
    )
    edits = b"0\ncut 1 99\nput 3 7 x\nover 2 1 A\ndrop 3 2\nagain 3 1 aa\nline 4 3 end 9 {}\nswap 4 3 a"
    moves = b"1\nmove 1 0 segments/000009-20260101T000000Z.log\ncopy 2 0 checkpoint\nremove 1 0"
    return {
        "gzip_stream": {"one": gzip.compress(data, mtime=0), "two": gzip.compress(data, mtime=0) * 2},
        "zstd_stream": {"one": frame, "three": frame + b"\x50\x2a\x4d\x18\x04\0\0\0skip" + other},
        "whole_log": {"honest": b"3", "edits": edits, "moves": moves},
        "shown_log": {"honest": b"1", "edits": edits, "moves": moves},
    }


def _of_clients() -> Seeds:
    submission = b"old 0\n\n" + _checkpoint()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return {
        "line_frames": {"lines": b"one\n\ntwo\r\nthree", "long": b"x" * 600 + b"\ny\n"},
        "syslog_frames": {
            "counted": b"11 <34>1 hello5 <1>\n\n3 <2>",
            "lines": b"<34>1 2026-01-01T00:00:00Z host app - - - hello\n<1>\x1b[2J\n<",
        },
        "escaped": {"controls": b"a\\b\x1b[0m\xc2\x85\xe2\x80\xa8\n", "stored": b"a\\\\b\\x1b"},
        "journal_line": {"entry": b'{"__CURSOR":"s=1;i=2","MESSAGE":"hello","PRIORITY":null}\n'},
        "metrics_request": {
            "metrics": b"GET /metrics HTTP/1.1\r\nHost: a\r\n"
            b"Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\r\n",
            "health": b"GET /healthz?x HTTP/1.0\r\n\r\n",
        },
        "witness_request": {
            "add": b"POST /add-checkpoint HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b"
            % (len(submission), submission),
            "get": b"GET / HTTP/1.1\r\n\r\n",
        },
        "server_answer": {
            "length": head + b"Content-Length: 2\r\n\r\n{}",
            "chunks": head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nTrailer: x\r\n\r\n",
            "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + head + b"\r\n{}",
        },
    }


def _of_operators() -> Seeds:
    pages = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    whole = pages.partition("```toml\n")[2].partition("```")[0].encode()
    broken = [path.read_bytes() for path in sorted((VECTORS / "config").glob("*.toml"))]
    return {
        "toml": {"documented": whole, **{f"vector-{n}": data for n, data in enumerate(broken[::8])}},
        "pkcs11_uri": {
            "full": b"token=audit%20log;object=epoch;id=%01%02;type=private"
            b"?module-name=softhsm2&pin-source=file:/run/pin"
        },
        "key_uri": {
            "file": b"file:keys/agent",
            "kms": b"awskms:///arn:aws:kms:eu-west-1:1:key/k",
            "bao": b"openbao://transit/k",
        },
        "units": {"size": b"1.5GB", "duration": b"90d", "plain": b"4096"},
    }


if __name__ == "__main__":
    main()
