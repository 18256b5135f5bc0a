"""`epochseal doctor`: looks at everything that sealing will depend on.

May import every floor below its own, but not its neighbours; backends only through `examiner`.
Never: a change to what it looks at.
"""

from epochseal.doctor.check_result import CheckResult
from epochseal.doctor.diagnosis import diagnose

__all__ = ["CheckResult", "diagnose"]
