"""The demo: a sealed log of a real program, honest and attacked, told on this machine in under a minute."""

from epochseal.demo.stage import DemoError, Stage
from epochseal.demo.story import STEPS, tell

__all__ = ["STEPS", "DemoError", "Stage", "tell"]
