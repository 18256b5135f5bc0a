"""Checks a log: epochs one by one, then joined, then held against notes, the trust file and witnesses.

May import custody's pages and ratchet, format, storage and the ground; it is handed its keys.
Never: a write, a backend call that seals or signs, or a failure that is in no problem list.
"""

from epochseal.verifier.epoch_mark import EpochMark
from epochseal.verifier.kinds import KINDS, PROBLEMS, WARNINGS, Kind
from epochseal.verifier.request import Examination, Pins, Promise, Request, Seen, merge_promises
from epochseal.verifier.resume_point import ResumeMisfitError, ResumePoint
from epochseal.verifier.verdict import Problem, Verdict
from epochseal.verifier.verify import examine, verify

__all__ = [
    "KINDS",
    "PROBLEMS",
    "WARNINGS",
    "EpochMark",
    "Examination",
    "Kind",
    "Pins",
    "Problem",
    "Promise",
    "Request",
    "ResumeMisfitError",
    "ResumePoint",
    "Seen",
    "Verdict",
    "examine",
    "merge_promises",
    "verify",
]
