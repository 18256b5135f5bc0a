"""`epochseal doctor`: looks at everything that sealing will depend on.

May import config, custody, storage and the ground; backends only through `examiner`.
Never: a change to what it looks at.
"""

from epochseal.doctor.check import Checked
from epochseal.doctor.diagnosis import diagnose

__all__ = ["Checked", "diagnose"]
