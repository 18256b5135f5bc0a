"""`epochseal doctor`: looks at everything that sealing will depend on, and changes none of it."""

from epochseal.doctor.checked import Checked
from epochseal.doctor.diagnosis import diagnose

__all__ = ["Checked", "diagnose"]
