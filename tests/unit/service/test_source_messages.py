from __future__ import annotations

import json
import logging
import os
from threading import Thread

from epochseal.journal import Journal
from epochseal.service.source_messages import told_in


def test_what_a_source_tells_is_an_event_of_its_log() -> None:
    """One line an event, whatever the text holds; afterwards as before."""
    read, write = os.pipe()
    log = logging.getLogger("epochseal.sources.tail")
    with told_in(Journal(write)):
        thread = Thread(target=lambda: log.warning("%s was truncated\nor not", "/a"), name="payments")
        thread.start()
        thread.join()
        log.error("refused")
        log.debug("not told")
    log.warning("not told either")
    os.close(write)
    with os.fdopen(read, "rb") as told:
        events = [json.loads(line) for line in told]
    assert [(event["level"], event["event"], event.get("log"), event["text"]) for event in events] == [
        ("warning", "source_message", "payments", "/a was truncated\nor not"),
        ("error", "source_message", None, "refused"),
    ]
