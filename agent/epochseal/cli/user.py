"""Who calls a command, as the log or a record is to name them."""

from __future__ import annotations

import os
import pwd


def this_user() -> str:
    """The login name of whoever called: of the person behind sudo, where that says so."""
    try:
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
