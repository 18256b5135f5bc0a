"""deploy/package: man pages, bill of materials, comparison of two builds, and what a package may do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.package.build_dist import differences
from deploy.package.commands import all_commands
from deploy.package.man_pages import man_page
from deploy.package.sbom import LOCKED, make_sbom
from epochseal.config import read_config
from epochseal.errors import ConfigError

PACKAGE = Path(__file__).resolve().parents[3] / "deploy" / "package"


def test_every_command_has_a_man_page() -> None:
    """Name, form and options are there, and no line is a request that troff would take for its own."""
    for command in all_commands():
        page = man_page(command, [])
        assert page.startswith(f'.TH "{"-".join(command.words).upper()}" 1 ')
        assert page.count("\n.TP\n") == len(command.options)
        for line in page.splitlines():
            assert not line.startswith("'")
            assert not line.startswith(".") or re.match(r"\.(TH|SH|PP|TP|B|nf|fi)\b", line), line


def test_the_bill_names_every_locked_library_with_its_hashes() -> None:
    """Each requirement of requirements/runtime.txt is a component, and none is without a hash."""
    components = make_sbom()["components"]
    locked = re.findall(
        r"^([a-z0-9][\w.-]*)==", LOCKED.read_text(encoding="utf-8"), re.MULTILINE | re.IGNORECASE
    )
    assert [item["name"] for item in components] == locked
    assert {"click", "cryptography", "msgspec", "rich", "hvac", "boto3"} <= set(locked)
    assert all(item["hashes"] for item in components)


def test_two_builds_that_differ_are_told(tmp_path: Path) -> None:
    """A file with other bytes, and one that only one build has, are named; equal ones are not."""
    paths = []
    for place, files in (("a", {"w": "1", "s": "2", "x": ""}), ("b", {"w": "1", "s": "3"})):
        (tmp_path / place).mkdir()
        for name, text in files.items():
            (tmp_path / place / name).write_text(text, encoding="utf-8")
        paths.append([tmp_path / place / name for name in files])
    assert differences(*paths) == ["s", "x"]
    assert differences(paths[0], paths[0]) == []


def test_the_package_starts_nothing_and_leaves_the_evidence() -> None:
    """No script enables a unit or deletes anything; only what runs already is started again."""
    scripts = "".join(
        (PACKAGE / name).read_text(encoding="utf-8") for name in ("postinst", "prerm", "postrm")
    )
    assert "try-restart" in scripts
    # Byte code that the package made is the one thing that goes.
    assert scripts.count("find /usr/lib/epochseal -name __pycache__ -prune -exec rm -r {} +") == 1
    scripts = scripts.replace("-exec rm -r", "")
    assert not re.search(
        r"\b(rm|enable|userdel|deluser|start)\b(?!:)", re.sub(r"#.*|try-restart", "", scripts)
    )


def test_the_default_configuration_is_right_once_its_comments_are_removed(tmp_path: Path) -> None:
    """What stands there in comments is a configuration of the agent."""
    text = (PACKAGE / "epochseal.toml").read_text(encoding="utf-8")
    file = tmp_path / "epochseal.toml"
    file.write_text(re.sub(r"^#(?=[\w\[])", "", text, flags=re.MULTILINE), encoding="utf-8")
    (log,) = read_config(file, None).logs
    assert str(log.dir) == "/var/lib/epochseal/app"
    with pytest.raises(ConfigError, match="there is no"):
        read_config(PACKAGE / "epochseal.toml", None)
