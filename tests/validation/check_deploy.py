"""`make check-deploy`: everything in deploy/, held against the programs that will read it.

Each check prints what its tool said. A tool that this machine lacks is named, in capitals, and fails nothing:
what was not looked at is not called good.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from epochseal.config import read_config
from epochseal.config.monitor_settings import read_monitor_config
from epochseal.errors import EpochsealError
from tests.integration.systemd_analyze import HIGHEST_EXPOSURE, exposure_of
from tests.validation import chart
from tests.validation.outcome import Failed, NotHere, Tool

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROGRAM = Path(sys.executable).with_name("epochseal")


@contextmanager
def units() -> Iterator[list[Path]]:
    """The units with the program where it is on this machine, and drop-ins in their places."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: list[Path] = []
        for path in sorted(item for item in (DEPLOY / "systemd").iterdir() if item.is_file()):
            text = path.read_text(encoding="utf-8").replace("/usr/bin/epochseal", str(PROGRAM))
            if path.suffix == ".conf":
                drop_in = folder / "epochseal.service.d" / path.name
                drop_in.parent.mkdir(exist_ok=True)
                drop_in.write_text(text, encoding="utf-8")
            else:
                (folder / path.name).write_text(text, encoding="utf-8")
                found.append(folder / path.name)
        yield found


def systemd_verify() -> str:
    """The units, with every drop-in, are taken without a word."""
    with units() as found:
        Tool("systemd-analyze").run("verify", *found, silent=True)
        return f"silent about {', '.join(path.name for path in found)} with their drop-ins"


def systemd_security() -> str:
    """No service is more exposed than the house allows."""
    Tool("systemd-analyze")
    with units() as found:
        shutil.rmtree(found[0].parent / "epochseal.service.d")
        scores = {path.name: exposure_of(path) for path in found if path.suffix == ".service"}
    told = ", ".join(f"{name} {score}" for name, score in scores.items())
    if max(scores.values()) > HIGHEST_EXPOSURE:
        raise Failed(told)
    return told


def systemd_users() -> str:
    """sysusers.d and tmpfiles.d are read by their programs, in an empty root."""
    with tempfile.TemporaryDirectory() as root:
        said = Tool("systemd-sysusers").run(
            "--dry-run", f"--root={root}", *sorted((DEPLOY / "systemd/sysusers.d").iterdir())
        )
    return ", ".join(line for line in said.splitlines() if line.startswith("Creating user"))


def logrotate() -> str:
    """The stanza parses; the service's user, which this machine lacks, stands for root."""
    text = (DEPLOY / "logrotate/epochseal").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "epochseal")
        config.write_text(text.replace("create 0640 myservice epochseal", "create 0640 root root"))
        config.chmod(0o644)
        said = Tool("logrotate").run("-d", f"--state={folder}/state", config)
    if "error" in said:
        raise Failed(said)
    return said.splitlines()[-1] if said else "silent"


def shell() -> str:
    """Every script of deploy/, by its first line."""
    scripts = [
        path
        for path in sorted(DEPLOY.rglob("*"))
        if path.is_file() and re.match(rb"#!.*\b(ba)?sh\b", path.read_bytes()[:40])
    ]
    Tool("shellcheck").run(*scripts, ROOT / ".ci/run", silent=True)
    return f"silent about {len(scripts) + 1} scripts"


def containerfile() -> str:
    """Hadolint's rules, all of them."""
    Tool("hadolint").run(DEPLOY / "container/Containerfile", silent=True)
    return "silent"


def manifests() -> str:
    """The manifests, against the schemas of Kubernetes; nothing that these do not know."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    return Tool("kubernetes-validate").run("--strict", *files)


def helm() -> str:
    """The chart is linted and refuses wrong values; Kubernetes and epochseal read what it renders."""
    with tempfile.TemporaryDirectory() as name:
        objects = chart.render(DEPLOY / "helm/epochseal", Path(name))
        said = Tool("kubernetes-validate").run("--strict", *sorted(Path(name).glob("*.yaml")))
        configurations = 0
        for item in objects:
            for key, text in item.get("data", {}).items() if item["kind"] == "ConfigMap" else ():
                file = Path(name, key)
                file.write_text(text, encoding="utf-8")
                if key == "monitor.toml":
                    read_monitor_config(file)
                else:
                    read_config(file, None, sealing="[[log.source]]" in text)
                configurations += 1
    return f"{said}\n{len(objects)} objects, {configurations} configurations read"


def prometheus() -> str:
    """Rules and their unit tests, by Prometheus's own program."""
    folder = DEPLOY / "prometheus"
    tool = Tool("promtool")
    said = tool.run("check", "rules", *sorted(folder.glob("*.rules.yml")))
    return f"{said}\n{tool.run('test', 'rules', *sorted(folder.glob('*.rules_test.yml')))}"


def terraform() -> str:
    """Form; and that it is valid, where the provider has been fetched before."""
    tool = Tool("terraform")
    tool.run("fmt", "-check", "-diff", "-recursive", DEPLOY)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(shutil.copytree(DEPLOY / "aws", Path(name, "aws")))
        try:
            tool.run(f"-chdir={folder}", "init", "-backend=false", "-input=false", "-no-color")
        except Failed:
            return "fmt is silent; validate NOT RUN: the AWS provider could not be fetched"
        return f"fmt is silent; {tool.run(f'-chdir={folder}', 'validate', '-no-color')}"


def shippers() -> str:
    """The configurations of neighbours, by those of them that are installed."""
    said = []
    for name, arguments in (
        ("rsyslogd", ("-N1", "-f", DEPLOY / "rsyslog/epochseal.conf")),
        ("syslog-ng", ("--syntax-only", "-f", DEPLOY / "rsyslog/syslog-ng.conf")),
        ("fluent-bit", ("--dry-run", "-c", DEPLOY / "fluent-bit/after.yaml")),
        ("vector", ("validate", "--no-environment", DEPLOY / "vector/after.yaml")),
        ("otelcol", ("validate", f"--config={DEPLOY / 'otel/after.yaml'}")),
    ):
        try:
            Tool(name).run(*arguments)
            said.append(f"{name} takes it")
        except NotHere as exc:
            said.append(f"NOT TRIED with {exc}")
    for path in sorted(DEPLOY.glob("*/*.yaml")):
        list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    return "\n".join(said)


CHECKS: dict[str, Callable[[], str]] = {
    "systemd-analyze verify": systemd_verify,
    "systemd-analyze security": systemd_security,
    "systemd-sysusers": systemd_users,
    "logrotate -d": logrotate,
    "shellcheck": shell,
    "hadolint": containerfile,
    "kubernetes-validate": manifests,
    "helm lint, template": helm,
    "promtool": prometheus,
    "terraform": terraform,
    "shippers": shippers,
}


def main() -> int:
    """Run every check; 1 if one of them failed."""
    os.environ["PATH"] += f"{os.pathsep}{PROGRAM.parent}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    failed = skipped = 0
    for name, check in CHECKS.items():
        try:
            state, said = "ok", check()
        except NotHere as exc:
            state, said, skipped = "SKIPPED", str(exc), skipped + 1
        except (Failed, EpochsealError) as exc:
            state, said, failed = "FAILED", str(exc), failed + 1
        first, *more = said.splitlines() or [""]
        print(f"{state:8}{name:26}{first}")
        for line in more:
            print(f"{'':34}{line}")
    print(f"check-deploy: {len(CHECKS) - failed - skipped} passed, {failed} failed, {skipped} SKIPPED")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
