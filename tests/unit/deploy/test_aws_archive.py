"""What the Terraform of archives lets each role do, and forbids everybody."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hcl2
import pytest

FOLDER = Path(__file__).parents[3] / "deploy" / "aws" / "archive"


@pytest.fixture(scope="module")
def text() -> str:
    """Of the module, which is HCL."""
    main = (FOLDER / "main.tf").read_text()
    for path in FOLDER.glob("*.tf"):
        parsed: Any = hcl2.loads(path.read_text())
        assert parsed
    return main


def _block(text: str, kind: str, name: str) -> str:
    found = re.search(rf'^resource "{kind}" "{name}" {{\n(.*?)^}}', text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def _allowed(block: str) -> set[str]:
    statements = re.findall(r'Effect\s*=\s*"Allow",?\s*Action\s*=\s*\[(.*?)\]', block, re.DOTALL)
    return {action for words in statements for action in re.findall(r'"(.*?)"', words)}


def test_archiver_puts_under_its_own_prefix_and_nothing_else(text: str) -> None:
    """It neither reads, lists nor deletes, and all three are denied whatever else allows them."""
    block = _block(text, "aws_iam_role_policy", "archiver")
    allowed = _allowed(block)
    assert {action for action in allowed if action.startswith("s3:")} == {
        "s3:PutObject",
        "s3:AbortMultipartUpload",
    }
    assert "/${each.key}/*" in block
    assert all(f'"{action}"' in block for action in ("s3:GetObject*", "s3:List*", "s3:Delete*"))


def test_reader_gets_and_lists_and_nothing_else(text: str) -> None:
    """It neither puts nor deletes."""
    block = _block(text, "aws_iam_role_policy", "reader")
    assert _allowed(block) == {"s3:ListBucket", "s3:GetObject", "kms:Decrypt"}
    assert all(f'"{action}"' in block for action in ("s3:Put*", "s3:Delete*"))


def test_bucket_is_locked_encrypted_and_never_written_twice(text: str) -> None:
    """Object Lock, a KMS key, no put without If-None-Match, nothing public, no upload left over."""
    assert "object_lock_enabled = true" in _block(text, "aws_s3_bucket", "archive")
    assert "mode = var.lock_mode" in _block(text, "aws_s3_bucket_object_lock_configuration", "archive")
    assert "aws:kms" in _block(text, "aws_s3_bucket_server_side_encryption_configuration", "archive")
    policy = _block(text, "aws_s3_bucket_policy", "archive")
    assert '"s3:if-none-match" = "true"' in policy
    assert '"aws:SecureTransport" = "false"' in policy
    assert "abort_incomplete_multipart_upload" in _block(
        text, "aws_s3_bucket_lifecycle_configuration", "archive"
    )
