"""What an agent tells of its start and of its troubles: one table for stderr and for the daemon's journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from epochseal.encoding import b64encode
from epochseal.errors import EpochsealError
from epochseal.journal import Field, Journal, Level
from epochseal.sealing.backend_outage import Outlook
from epochseal.sealing.epoch_turns import Begun
from epochseal.sealing.restart_point import RestartPoint
from epochseal.standard_streams import write_stderr
from epochseal.storage.durable import DiskFullError


@dataclass(frozen=True, slots=True)
class Message:
    """Something that an operator is to know.

    Attributes:
        event: its name in the journal.
        text: what stderr shows of it, without the name of the program; empty: nothing.
        hint: what to do.
        fields: what the journal says beside its name.
    """

    level: Level
    event: str
    text: str = ""
    hint: str | None = None
    fields: Mapping[str, Field] = field(default_factory=dict)


def print_message(message: Message) -> None:
    """Say it on stderr."""
    if message.text:
        write_stderr(f"epochseal: {message.text}")
        if message.hint:
            write_stderr(f"epochseal: hint: {message.hint}")


def write_message(journal: Journal, message: Message) -> None:
    """Write it to the journal."""
    hint = {"hint": message.hint} if message.hint else {}
    journal.tell(message.level, message.event, **message.fields, **hint)


def no_state_directory(reason: str) -> Message:
    """Nothing is remembered of the log, because the default place cannot be used."""
    return Message(
        "warning",
        "no_state_directory",
        f"no state directory: {reason}: a start behind a reboot will be cold",
        "name one with --state-dir or state_dir, or say none",
        {"reason": reason},
    )


def start_messages(point: RestartPoint, entries: int) -> list[Message]:
    """What a start found, and how the log goes on.

    Args:
        point: what it decided.
        entries: those of the log that are durable.
    """
    messages = [_started(point, entries), *_mended(point)]
    if point.denies is not None:
        messages.append(_tampered(point))
    elif point.link == "cold":
        messages.append(_cold(point))
    return messages


def begun_message(begun: Begun, logdir: Path) -> Message:
    """The first line of a start that carries nothing on: what it is called by whoever is to accept it."""
    if begun.link == "genesis" and begun.denies is None:
        return Message(
            "info",
            "log_begun",
            f"the log's id is {b64encode(begun.log)}: tell it to whoever verifies (verify --log)",
            fields={"log_id": b64encode(begun.log)},
        )
    accept = b64encode(begun.leaf)
    why = (
        "somebody has to accept this start" if begun.denies is None else "verify calls the log tampered with"
    )
    return Message(
        "warning",
        "start_to_accept",
        f"{why}; its hash is {accept}",
        f"when it is explained, whoever verifies types: "
        f"epochseal trust {logdir} … --accept-start {accept} --reason TEXT",
        {"accept": accept},
    )


def outage_message(outlook: Outlook, trouble: EpochsealError | None) -> Message:
    """A backend is away or refuses, nothing is acknowledged for that, or it is back."""
    if outlook == "up":
        return Message("info", "backend_back", "the backend is back")
    reason = str(trouble or "the backend has not answered yet")
    event, what = {
        "down": ("backend_down", "trying again; a running epoch goes on"),
        "refused": (
            "backend_refused",
            "a running epoch goes on; it is asked again in minutes, not in seconds",
        ),
        "late": ("overdue", "the epoch is overdue for too long, nothing is sealed until the backend is back"),
    }[outlook]
    hint = trouble.hint if trouble is not None else None
    return Message("warning", event, f"{reason}: {what}", hint, {"reason": reason})


def stall_message(cause: DiskFullError | None) -> Message:
    """The disk is full, or no longer."""
    if cause is None:
        return Message("info", "room_again", "there is room again: sealing goes on")
    return Message("warning", "no_room", f"{cause}: waiting for room", cause.hint, {"reason": str(cause)})


def _started(point: RestartPoint, entries: int) -> Message:
    fields: dict[str, Field] = {"link": point.link, "entries": entries}
    if point.link != "genesis":
        fields["log_id"] = b64encode(point.chain.log)
    return Message("info", "started", fields=fields)


def _mended(point: RestartPoint) -> Sequence[Message]:
    found = []
    if point.page:
        found.append(
            Message(
                "warning",
                "page_refused",
                f"the runtime page was not used: {point.page}",
                fields={"reason": point.page},
            )
        )
    for size, event, what, where in (
        (point.set_aside, "set_aside", "bytes that nobody sealed were", ".unsealed"),
        (point.torn_aside, "torn_aside", "bytes of torn seal lines were", ".torn"),
    ):
        if size:
            found.append(
                Message("warning", event, f"{size} {what} set aside in {where}", fields={"bytes": size})
            )
    return found


def _cold(point: RestartPoint) -> Message:
    if point.closed:
        reason = "the log was closed before, but what it handed on is gone"
        means = "nothing is missing; that it was this agent who went on is for a person to say"
    else:
        reason = "the log was not closed before, or something stands behind its close"
        means = "entries after the last sealed one may be lost"
    return Message(
        "warning",
        "cold_start",
        f"{reason}: this start is cold, and verify will call the log incomplete ({means})",
        None,
        {"reason": reason, "closed": point.closed, "state": point.memory},
    )


def _tampered(point: RestartPoint) -> Message:
    denied = point.denies
    remembered = denied.size if denied is not None else 0
    return Message(
        "error",
        "tampered_at_start",
        f"the log is not what it was: {point.why}. Sealing goes on; verify will call the log tampered with",
        "compare with a backup. Whoever removed it on purpose says so with epochseal forget LOGDIR",
        {
            "why": point.why,
            "size": point.chain.tree.size,
            "remembered": remembered,
            "remembered_log": denied.log if denied is not None else "",
        },
    )
