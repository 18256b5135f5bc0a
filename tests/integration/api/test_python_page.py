"""docs/python.md, run as it stands: its shell commands, then its Python, which print what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.agents import Place, tmpfs
from tests.integration.sources.sockets import blocks, checked, socket_agent

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
SOCKET = "/run/epochseal/app.sock"


def of(language: str) -> list[str]:
    """The page's examples in one language."""
    return [code for name, code in FENCE.findall(PAGE) if name == language]


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program of its own, with warnings as errors."""
    words = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the page's shell commands were run."""
    for commands in of("sh"):
        subprocess.run(["bash", "-euc", commands], cwd=tmp_path, check=True, timeout=60)
    return tmp_path


def test_the_examples_print_what_the_page_says(folder: Path) -> None:
    """All but the one that needs an agent, one after the other."""
    program = "\n".join(code for code in of("python") if SOCKET not in code)
    done = run(program, folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "".join(of("text"))


def test_the_example_of_the_handler_seals(tmp_path: Path) -> None:
    """With the socket of a real agent in the place of the page's."""
    (code,) = (code for code in of("python") if SOCKET in code)
    with tmpfs() as runtime:
        place = Place(tmp_path, runtime)
        with socket_agent(place, "unix-stream") as agent:
            done = run(f"import epochseal\n{code.replace(SOCKET, str(agent.path))}", tmp_path)
            assert (done.returncode, done.stderr) == (0, "")
            agent.stop()
        assert checked(place).entries == 1
        assert sum(block.entries for block in blocks(place)) == 1
