"""A Docker daemon beside the agent, for those who ask for one. Pure.

It listens on a socket that only the pod has: on TCP without TLS, as the image does by itself, everybody in the cluster
could have root on the node.
"""

from __future__ import annotations

from typing import Any

from adapter.agent.config import AgentConfig
from adapter.agent.layout import DOCKER
from adapter.agent.manifest import USER

NAME = "docker"
HOST = f"unix://{DOCKER}/docker.sock"
NOTE = "enableDocker: the docker container is privileged, and a namespace with Pod Security above that refuses the pod"

VOLUMES: tuple[dict[str, Any], ...] = ({"name": "docker", "emptyDir": {}}, {"name": "docker-data", "emptyDir": {}})
SOCKET: dict[str, Any] = {"name": "docker", "mountPath": DOCKER}
"""The mount by which a container can speak to the daemon."""


def sidecar(config: AgentConfig, workspace_mount: dict[str, Any]) -> dict[str, Any]:
    """The native sidecar. The agent starts when the daemon answers, and both see the workspace at the same place."""
    return {
        "name": NAME,
        "image": config.docker_image,
        "imagePullPolicy": config.image_pull_policy,
        "restartPolicy": "Always",
        "args": ["dockerd", f"--host={HOST}", f"--group={USER}"],
        "startupProbe": {
            "exec": {"command": ["docker", f"--host={HOST}", "version"]},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 120,
        },
        "resources": {"limits": {"cpu": config.docker_cpu_limit, "memory": config.docker_memory_limit}},
        "volumeMounts": [SOCKET, {"name": "docker-data", "mountPath": "/var/lib/docker"}, workspace_mount],
        "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False},
    }
