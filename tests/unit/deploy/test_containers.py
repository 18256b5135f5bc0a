"""deploy/container and deploy/kubernetes: what keeps keys out of swap, cores and other hands is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from epochseal.config import read_config

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"


@pytest.fixture(scope="module")
def objects() -> dict[str, Any]:
    """The objects of the sidecar's manifest, by kind."""
    text = (DEPLOY / "kubernetes" / "sidecar.yaml").read_text(encoding="utf-8")
    return {item["kind"]: item for item in yaml.safe_load_all(text)}


def test_pod_keeps_the_page_in_memory(objects: dict[str, Any]) -> None:
    """The runtime directory is a memory-backed volume, and every mount has its volume."""
    spec = objects["Pod"]["spec"]
    volumes = {item["name"]: item for item in spec["volumes"]}
    agent = spec["initContainers"][0]
    mounts = {item["mountPath"]: item["name"] for item in agent["volumeMounts"]}
    assert volumes[mounts["/run/epochseal"]]["emptyDir"]["medium"] == "Memory"
    for container in (agent, *spec["containers"]):
        assert {item["name"] for item in container["volumeMounts"]} <= set(volumes)
    assert agent["restartPolicy"] == "Always"


def test_pod_gives_no_more_than_is_needed(objects: dict[str, Any]) -> None:
    """No root, no capability, no other's token; time enough to close the log."""
    spec = objects["Pod"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    assert spec["terminationGracePeriodSeconds"] > 60
    for container in (*spec["initContainers"], *spec["containers"]):
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"]["drop"] == ["ALL"]


def test_configuration_of_the_sidecar_is_right(objects: dict[str, Any], tmp_path: Path) -> None:
    """The daemon reads it, and its paths are mounted."""
    file = tmp_path / "epochseal.toml"
    file.write_text(objects["ConfigMap"]["data"]["epochseal.toml"], encoding="utf-8")
    (log,) = read_config(file, None).logs
    mounted = [item["mountPath"] for item in objects["Pod"]["spec"]["initContainers"][0]["volumeMounts"]]
    settings = log.backend_settings["vault"]
    paths = (log.dir, log.runtime_dir, log.state_dir.path, settings["ca_file"], settings["jwt_file"])
    for path in paths:
        assert any(str(path).startswith(place) for place in mounted), path


def test_container_runs_as_nobody_else() -> None:
    """The image has a user of its own, and the commands of the page switch off cores and swap."""
    lines = (DEPLOY / "container" / "Containerfile").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER 10001:10001"]
    page = (DEPLOY / "container" / "README.md").read_text(encoding="utf-8")
    for option in ("--ulimit core=0:0", "--ulimit memlock=", "noswap", "--read-only", "--cap-drop all"):
        assert option in page
    memory, swap = (page.partition(f"--{name} ")[2].split()[0] for name in ("memory", "memory-swap"))
    assert memory == swap
