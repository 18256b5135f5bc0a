"""The program: also as `python -m epochseal`."""

from __future__ import annotations

import gc
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:  # Ctrl-C is not ours yet: as little as possible is loaded before it is
    from typing import NoReturn


_NEW_OBJECTS = 20_000


def main() -> NoReturn:
    """Run the command line; Ctrl-C while it is still being loaded ends it without a traceback."""
    # What is loaded makes objects by the hundred thousand, and they stay: to look for garbage after every 700
    # of them, as Python does by itself, took a tenth of the CPU time of a short command.
    gc.set_threshold(_NEW_OBJECTS)
    # Whoever started us in the background had us ignore Ctrl-C, which is for the foreground.
    heard = signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    if heard:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from epochseal.standard_streams import hold_closed_descriptors  # noqa: PLC0415  # as below

    hold_closed_descriptors()
    from epochseal.cli.program import main as run  # noqa: PLC0415  # slow: this is what Ctrl-C may come in the middle of

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
