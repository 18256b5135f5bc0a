"""The log held against the audit trail of its key backend: what was issued, and what was sealed with it.

May import format, storage and the ground.
Never: an unauthenticated trail treated as proof.
"""

from epochseal.trail.compare import reconcile
from epochseal.trail.digests import check_digests, read_digest_key
from epochseal.trail.read import read_trail
from epochseal.trail.reconciliation import KINDS, NOTES, Reconciliation, TrailFinding
from epochseal.trail.sealed import read_sealed

__all__ = [
    "KINDS",
    "NOTES",
    "Reconciliation",
    "TrailFinding",
    "check_digests",
    "read_digest_key",
    "read_sealed",
    "read_trail",
    "reconcile",
]
