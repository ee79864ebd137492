"""How a call of `claude` is configured, and how what is wrong with that is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from adapter.cli.dropin_settings import CONFIG_FILE, ELSEWHERE, FIELDS
from adapter.cli.dropin_settings import settings as configured
from adapter.errors import InvalidRequest

SHELLS = [
    shell for shell in (["sh"], ["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])
]


def test_the_environment_wins_over_the_file_it_names_and_that_over_our_own(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    file.write_text(json.dumps({"image": "file:1", "graceSec": 20}))
    table = {"image": "table:1", "graceSec": 10, "timeoutSec": 5}
    environ = {CONFIG_FILE: str(file), "CLAUDE_K8S_IMAGE": "environment:1"}
    config = configured(environ, table).config()
    assert (config.image, config.grace_sec, config.timeout_sec) == ("environment:1", 20, 5)


def test_each_field_has_a_variable() -> None:
    assert FIELDS["workspaceVolumeClaim"] == "CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM"
    assert FIELDS["resources.limits.cpu"] == "CLAUDE_K8S_RESOURCES_LIMITS_CPU"
    environ = {"CLAUDE_K8S_RESOURCES_LIMITS_CPU": "3", "CLAUDE_K8S_NODE_SELECTOR": "pool=a", "CLAUDE_K8S_GRACE_SEC": ""}
    config = configured(environ, {"resources": {"limits": {"cpu": "2", "memory": "9Gi"}}}).config()
    assert (config.resources.limits.cpu, config.resources.limits.memory) == ("3", "9Gi")
    assert (config.node_selector, config.grace_sec) == ({"pool": "a"}, 60)


@pytest.mark.parametrize("key", ["workspaceVolumeClaim", "workspace-volume-claim", "workspace_volume_claim"])
def test_a_key_of_our_own_file_is_written_as_its_others_are(key: str) -> None:
    assert configured({}, {key: "data"}).config().workspace_volume_claim == "data"


@pytest.mark.parametrize(
    ("environ", "table", "said"),
    [
        ({"CLAUDE_K8S_GRACE_SEC": "soon"}, {}, "CLAUDE_K8S_GRACE_SEC is not a whole number"),
        ({}, {"graceSec": "soon"}, "configuration file: agent.graceSec is not a whole number"),
        ({}, {"grace-sec": "soon"}, "configuration file: agent.grace-sec is not a whole number"),
        ({"CLAUDE_K8S_TOLERATIONS": "a:Never"}, {}, "CLAUDE_K8S_TOLERATIONS[0].effect "),
        ({"CLAUDE_K8S_RESOURCES_LIMITS_CPU": "lots"}, {}, "CLAUDE_K8S_RESOURCES_LIMITS_CPU "),
        ({}, {"resources": {"limits": {"cpu": "lots"}}}, "configuration file: agent.resources.limits.cpu "),
        (
            {"CLAUDE_K8S_RESOURCES_REQUESTS_CPU": "9", "CLAUDE_K8S_RESOURCES_LIMITS_CPU": "1"},
            {},
            "_REQUESTS_CPU '9' is",
        ),
        ({"CLAUDE_K8S_ENV": "A=1\nhunter2"}, {}, "CLAUDE_K8S_ENV is not key=value in line 2"),
        ({"CLAUDE_K8S_IMAGE": "a b", "CLAUDE_K8S_NAMESPACE": "A"}, {}, "CLAUDE_K8S_NAMESPACE"),
        ({}, {"imgae": "x"}, "configuration file: agent.imgae is not known"),
        ({}, {"resources": {"limit": {"cpu": "1"}}}, "configuration file: agent.resources.limit"),
        ({CONFIG_FILE: "/no/such/file"}, {}, "/no/such/file: No such file or directory"),
        ({CONFIG_FILE: "/dev/null"}, {}, f"{CONFIG_FILE}: /dev/null holds no configuration"),
    ],
)
def test_what_is_wrong_is_named_as_its_user_knows_it(environ: dict[str, str], table: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        configured(environ, table).config()
    assert said in str(refused.value)
    assert "config." not in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_wrong_value_of_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("graceSec: soon")
    with pytest.raises(InvalidRequest, match=rf"^{file}: graceSec is not a whole number$"):
        configured({CONFIG_FILE: str(file)}, {}).config()


def test_a_control_planes_document_may_have_fields_that_nobody_reads(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    file.write_text(json.dumps({"chrome": True, "enableRtk": True, "model": "opus", "paperclipSkillSync": {}}))
    found = configured({CONFIG_FILE: str(file), "CLAUDE_K8S_EFFORT": "high"}, {})
    assert found.config().unknown == ("chrome",)
    assert found.config().model == ""
    assert len(found.notes) == 3
    assert "CLAUDE_K8S_EFFORT has no effect on a call of claude" in found.notes


def test_what_means_nothing_here_is_a_field() -> None:
    assert FIELDS.keys() >= ELSEWHERE
