"""All targets, by name."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.target import Target
from tests.fuzz.targets import (
    compressed,
    configuration,
    evidence,
    frames,
    http,
    lines,
    notes,
    trails,
    whole_log,
)

CORPUS = Path(__file__).with_name("corpus")
_ALL = (
    Target(lines.seal_line, words=lines.WORDS),
    Target(lines.seal_payload, words=lines.WORDS),
    Target(lines.block_columns, longest=16 << 10, words=lines.WORDS),
    Target(
        lines.segment_names,
        words=(b"000001-20260101T000000Z", b".log", b".seal", b".gz", b".zst", b".torn", b"\n"),
    ),
    Target(notes.note),
    Target(notes.vkey, longest=512),
    Target(notes.cosignatures),
    Target(
        notes.policy,
        longest=64 << 10,
        words=(b"witness ", b"group ", b"quorum ", b"log ", b" any", b" all", b"none"),
    ),
    Target(notes.submission),
    Target(evidence.proof, longest=16 << 10),
    Target(evidence.trust_file, words=(b"epoch-key ", b"start ", b"accepted-key ", b"promise 1 1 1\n")),
    Target(trails.vault_audit, longest=16 << 10, words=trails.VAULT_WORDS),
    Target(trails.cloudtrail, longest=16 << 10, words=trails.CLOUDTRAIL_WORDS),
    Target(trails.trail_file, longest=16 << 10, words=trails.VAULT_WORDS + trails.CLOUDTRAIL_WORDS),
    Target(trails.digest_file, longest=16 << 10),
    # What is read of a compressed file ends at a megabyte here, however few bytes make it.
    Target(compressed.gzip_stream, longest=16 << 10),
    Target(compressed.zstd_stream, longest=16 << 10),
    Target(frames.line_frames),
    Target(frames.syslog_frames, words=(b"<34>1 ", b"11 ", b"512 ", b"513 ", b"9999999999 ", b"\n")),
    Target(frames.escaped, words=(b"\\\\", b"\\x0a", b"\\x5c", b"\xc2\x85", b"\xe2\x80\xa8")),
    Target(frames.journal_line, words=(b'"__CURSOR":"', b"\\ud800", b"\xff")),
    Target(http.metrics_request, words=http.REQUEST_WORDS),
    Target(http.witness_request, words=http.REQUEST_WORDS),
    Target(http.server_answer, words=http.ANSWER_WORDS),
    Target(configuration.toml, longest=8 << 10, words=configuration.TOML_WORDS),
    Target(configuration.pkcs11_uri, longest=512, words=configuration.URI_WORDS),
    Target(configuration.key_uri, longest=512),
    Target(configuration.units, longest=64, words=(b"KiB", b"ms", b"d", b".000001", b"999999999999")),
    Target(whole_log.whole_log, longest=2048, words=whole_log.WORDS),
    Target(whole_log.shown_log, longest=2048, words=whole_log.WORDS),
)
TARGETS = {target.name: target for target in _ALL}


def corpus(name: str) -> list[Path]:
    """The inputs of a target that are kept: some of each form, and each that was a finding."""
    return sorted((CORPUS / name).iterdir())
