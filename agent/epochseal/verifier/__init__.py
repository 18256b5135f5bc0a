"""The verifier: reads only, is handed its keys, and shares lines, ratchet and Merkle tree with the sealer."""

from epochseal.verifier.verdict import KINDS, WARNINGS, Problem, Verdict
from epochseal.verifier.verify import Request, verify

__all__ = ["KINDS", "WARNINGS", "Problem", "Request", "Verdict", "verify"]
