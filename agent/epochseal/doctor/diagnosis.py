"""All checks, in the order in which a start would depend on them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from epochseal.config import Configuration, LogConfig
from epochseal.doctor.check_result import CheckResult
from epochseal.doctor.key_checks import ask_backends
from epochseal.doctor.machine_checks import check_clock, check_memory, check_process, check_swap
from epochseal.doctor.source_checks import check_feedback, check_listen, check_source
from epochseal.doctor.state_checks import check_state_dir
from epochseal.doctor.storage_checks import (
    check_directory,
    check_disk,
    check_files,
    check_log_clock,
    check_runtime_dir,
    is_held,
)


def diagnose(config: Configuration) -> Iterator[CheckResult]:
    """Check this machine and every log of the configuration, as the user that this process has.

    A secret is issued for a log that does not exist (`examiner.PROBE_LOG`); nothing else is made or changed.

    Raises:
        StorageError: the kernel does not let this process be closed to debuggers.
    """
    yield from check_process("machine")
    yield check_memory("machine")
    yield check_swap("machine")
    yield check_clock("machine")
    held = False
    refused: list[LogConfig] = []
    for log in config.logs:
        part = f"log {log.name}"
        agent_runs = is_held(log.dir)
        held = held or agent_runs
        yield from _check_log(part, log, agent_runs=agent_runs)
        if any(log.backend_settings == other.backend_settings for other in refused):
            detail = "not tried again: the same credential was just refused, and more tries may lock it"
            yield CheckResult(part, "key backends", "unknown", detail)
            continue
        for result in ask_backends(part, log):
            yield result
            if result.refused:
                refused.append(log)
    if (listen := config.metrics_listen.value) is not None:
        yield _library("metrics", "prometheus_client", "metrics")
        yield check_listen("metrics", "address is free", listen, in_use=held)


def _check_log(part: str, log: LogConfig, *, agent_runs: bool) -> Iterator[CheckResult]:
    state = "an agent holds it" if agent_runs else "no agent runs here"
    yield CheckResult(part, "directory lock", "good", state)
    yield check_directory(part, log.dir)
    yield check_files(part, log.dir)
    yield from check_disk(part, log.dir, log.number("segment_bytes"))
    yield check_log_clock(part, log.dir)
    yield check_runtime_dir(part, log.runtime_dir)
    yield check_state_dir(part, log.state_dir, log.dir, agent_runs=agent_runs)
    if log.compress == "zstd":
        yield _library(part, "zstandard", "zstd")
    for source in log.sources:
        yield from check_source(part, source, in_use=agent_runs)
    yield from check_feedback(part, log)


def _library(part: str, module: str, extra: str) -> CheckResult:
    if find_spec(module) is None:
        return CheckResult(
            part, f"library {module}", "wrong", "not installed", f"in a checkout: pip install '.[{extra}]'"
        )
    return CheckResult(part, f"library {module}", "good", "installed")
