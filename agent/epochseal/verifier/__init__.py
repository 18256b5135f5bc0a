"""The verifier: reads only, is handed its keys, and shares lines, ratchet and Merkle tree with the sealer."""

from epochseal.verifier.pins import Pins
from epochseal.verifier.verdict import KINDS, WARNINGS, Problem, Verdict
from epochseal.verifier.verify import Examination, Request, examine, verify

__all__ = [
    "KINDS",
    "WARNINGS",
    "Examination",
    "Pins",
    "Problem",
    "Request",
    "Verdict",
    "examine",
    "verify",
]
