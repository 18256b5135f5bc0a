"""`epochseal monitor`: verify many logs all the time, and tell what was found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from epochseal.cli.console import print_line, print_notice
from epochseal.cli.error_messages import Misuse, status_of
from epochseal.cli.options import Parsed, env_option
from epochseal.cli.tables import print_table
from epochseal.cli.user import this_user
from epochseal.errors import ConfigError, EpochsealError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from epochseal.config.monitor_settings import MonitorConfig
    from epochseal.monitor.log_record import LogRecord
    from epochseal.monitor.told import Told

_FILE = click.option(
    "--config", "path", type=click.Path(path_type=Path), metavar="FILE", help="TOML file with [monitor]."
)


@click.group(invoke_without_command=True)
@_FILE
@env_option
@click.option("--once", is_flag=True, help="Examine every log once, and end with the verdict's status.")
@click.option("--check", is_flag=True, help="Validate the file and print what would be in force.")
@click.pass_context
def monitor(ctx: click.Context, path: Path | None, env: str | None, once: bool, check: bool) -> None:
    """Verify many logs all the time: what is new within seconds, everything again within a set period.

    It remembers each log in its state directory, and reads on from there. A tampering is told until somebody
    acknowledges it, even if it heals. With --once it examines every log once, and ends.

    \b
    Example:
      epochseal monitor --config monitor.toml --check
      epochseal monitor --config monitor.toml --once
      epochseal monitor --config monitor.toml
      epochseal monitor acknowledge LOGDIR --config monitor.toml --reason "restored from a backup, T-17"
      epochseal monitor forget LOGDIR --config monitor.toml --reason "decommissioned, T-18"

    Exit status with --once: 0 every log is verified, 1 one is tampered with, or was and nobody has
    acknowledged it, 2 usage, 3 one is incomplete or an expected one is missing, 4 untrusted or unknown key, 5
    there is no log, 6 one could not be examined. Without it: 0 after SIGTERM or Ctrl-C.
    """
    if ctx.invoked_subcommand is not None:
        if path is not None or env is not None or once or check:
            raise Misuse("options stand behind the subcommand", None, ctx)
        return
    path = _given(path, ctx)
    if once and check:
        raise Misuse("--once and --check exclude each other", "leave one of them out", ctx)
    from epochseal.config.monitor_settings import read_monitor_config

    config = read_monitor_config(path, env)
    if check:
        _show(config)
        return
    from epochseal.custody.memory import harden_process
    from epochseal.journal import Journal
    from epochseal.monitor.monitoring import Monitor

    harden_process()
    journal = Journal()
    running = Monitor(config, journal)
    try:
        status = running.run(once=once)
    except EpochsealError as exc:
        if not journal.has_told:
            raise
        # Whoever reads the journal by program finds nothing else on standard error.
        journal.error("failed", exc)
        ctx.exit(status_of(exc))
    if once:
        _show_told(running.told)
    ctx.exit(status)


def _given(path: Path | None, ctx: click.Context) -> Path:
    if path is None:
        raise Misuse("no configuration was named", "name it with --config", ctx)
    return path


def _parse_reason(text: str) -> str:
    from epochseal.evidence.trust_file import check_reason

    return check_reason(text)


@monitor.command()
@click.argument("log", metavar="LOG")
@_FILE
@env_option
@click.option(
    "--reason", type=Parsed("reason", _parse_reason), required=True, help="What was found out; kept with it."
)
@click.pass_context
def acknowledge(ctx: click.Context, log: str, path: Path | None, env: str | None, reason: str) -> None:
    """Say that a person has looked into a tampering: LOG is the log's directory, its origin or its id.

    One that has healed is not told any more then. One that is still there stays tampered; what is new beside
    it is told again. The reports of what was found are kept.

    \b
    Example:
      epochseal monitor acknowledge example.com/payments --config monitor.toml --reason "disk fault, T-17"

    Exit status: 0 it was acknowledged, 2 there is no such log or nothing to acknowledge.
    """
    path = _given(path, ctx)
    from epochseal.config.monitor_settings import read_monitor_config
    from epochseal.monitor.log_record import Acknowledgement, Records

    records = Records(read_monitor_config(path, env).state_dir)
    record = _named(log, [record for record in records.all() if record.alarm is not None])
    if record is None:
        raise ConfigError(
            f"{log} has no tampering to acknowledge", "epochseal monitor --once tells which has"
        )
    alarm = record.alarm
    assert alarm is not None  # noqa: S101  # those alone were taken
    records.acknowledge(
        record.place,
        Acknowledgement(
            alarm=alarm.since,
            found=len(alarm.found),
            who=this_user(),
            reason=reason,
            time=time.time_ns() // 1_000_000,
        ),
    )
    for report in alarm.reports:
        print_line(report)
    print_notice(f"acknowledged: {record.place}; a monitor that runs takes it up in its next round")


@monitor.command()
@click.argument("log", metavar="LOG")
@_FILE
@env_option
@click.option(
    "--reason", type=Parsed("reason", _parse_reason), required=True, help="Why it is not there any more."
)
@click.pass_context
def forget(ctx: click.Context, log: str, path: Path | None, env: str | None, reason: str) -> None:
    """Say that a log was removed on purpose: LOG is the directory that it had, its origin or its id.

    A log whose directory is gone is told as tampered with until somebody says this. What was known of it is
    kept in the state directory, with who forgot it and why. A log whose directory is there, or is named in
    the configuration without a pattern, is not forgotten.

    \b
    Example:
      epochseal monitor forget /var/log/sealed/payments --config monitor.toml --reason "decommissioned, T-18"

    Exit status: 0 it will be forgotten, 2 no such log is known, or it is there.
    """
    path = _given(path, ctx)
    from epochseal.config.monitor_settings import read_monitor_config
    from epochseal.monitor.fleet import find_logs
    from epochseal.monitor.log_record import Forgetting, Records, place_from

    config = read_monitor_config(path, env)
    records = Records(config.state_dir)
    record = _named(log, list(records.all()))
    if record is None:
        raise ConfigError(f"the monitor remembers no log {log}", "name the directory that it had")
    if place_from(record.place) in find_logs(config.logs):
        hint = "remove its directory, or take it out of the configuration, before it is forgotten"
        raise ConfigError(f"{record.place} is there, or it is named in {path}", hint)
    moment = time.time_ns() // 1_000_000
    records.leave_forgetting(Forgetting(place=record.place, who=this_user(), reason=reason, time=moment))
    print_notice(f"forgotten: {record.place}; a monitor that runs takes it up in its next round")


def _named(log: str, records: Sequence[LogRecord]) -> LogRecord | None:
    """The one log of this directory, origin or id; None if there is none."""
    from epochseal.evidence.known_logs import place_of
    from epochseal.monitor.log_record import name_of

    wanted = {log, name_of(place_of(log))}
    named = [record for record in records if wanted & {record.place, record.origin, record.log}]
    if len(named) > 1:
        raise ConfigError(
            f"{log} is several logs", f"name its directory: {', '.join(record.place for record in named)}"
        )
    return named[0] if named else None


def _show(config: MonitorConfig) -> None:
    from epochseal.monitor.fleet import find_logs

    env = f"env.{config.env}" if config.env else "no environment"
    print_line(f"{config.path}: {env}; backends were not contacted, no log was read")
    print_line()
    rows = [
        (
            key,
            value.text,
            f"{value.origin.place}, line {value.origin.line}" if value.origin.line else "default",
        )
        for key, value in config.values.items()
    ]
    rows += [("expected", ", ".join(config.expected) or "none", "")]
    rows += [("on_change", " ".join(config.on_change) or "none", "")]
    print_table(rows, head=("[monitor]", "value", "set in"))
    found = find_logs(config.logs)
    for table in config.logs:
        print_line()
        keys = table.keys.epoch_keys
        mode = ", ".join(map(str, keys)) if keys else "none: only what a public key can show"
        rows = [("origin", table.origin or "any", ""), ("epoch_key", mode, "")]
        rows += [("checkpoint_key", table.keys.checkpoint_key, "")]
        places = [place for place, named in found.items() if named is table]
        rows += [(f"log {number}", place, "") for number, place in enumerate(places, 1)]
        rows += [] if places else [("log", "none is there now", "")]
        print_table(rows, head=(f"[{table.pattern}]", "value", ""))


def _show_told(told: Told) -> None:
    for log in told.logs:
        verdict = log.verdict.upper()
        if not verdict or (log.error and log.verdict != "tampered"):
            # What it was before is no word about now.
            verdict = "NOT EXAMINED"
        healed = " (healed, not acknowledged)" if log.verdict == "tampered" != log.found else ""
        print_line(f"{verdict}{healed}  {log.place}  {log.origin}  {log.entries:,} entries")
        if log.error:
            print_line(f"  {log.error}{f'; it was {log.verdict}' if log.verdict else ''}")
        if log.first_problem:
            print_line(f"  {log.first_problem}")
        for report in log.reports:
            print_line(f"  report {report}")
    for origin in told.missing:
        print_line(f"MISSING  {origin}")
    if not told.logs:
        print_line("nothing to verify: there is no log")
