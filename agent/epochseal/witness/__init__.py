"""Witnesses (C2SP tlog-witness): submitting checkpoints to them, and a small one of our own.

May import format, storage and the ground.
Never: a cosignature that was not checked, or one over a tree that did not grow consistently.
"""

from epochseal.witness.server import serve
from epochseal.witness.store import WitnessStore, make_key
from epochseal.witness.submit_checkpoint import submit_checkpoint

__all__ = ["WitnessStore", "make_key", "serve", "submit_checkpoint"]
