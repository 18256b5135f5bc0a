"""A sealed log of a real program, honest and attacked, told on this machine in under a minute.

May import every floor below its own, but not its neighbours.
Never: a verdict that does not come from the real verifier.
"""

from epochseal.demo.stage import DemoError, Stage
from epochseal.demo.story import STEPS, tell

__all__ = ["STEPS", "DemoError", "Stage", "tell"]
