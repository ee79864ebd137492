"""The manifests of docs/deploy: as files, and as kubectl makes them of a copy whose names are a test's own."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.contract.conftest import Object, Place

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
IMAGE = os.environ.get("CLAUDE_K8S_TEST_IMAGE", "")
KUBECTL = shutil.which(os.environ.get("KUBECTL") or "kubectl") or ""


@dataclass(frozen=True)
class Bundle:
    """What a kustomization is made of; `files` are all that it names, itself included."""

    files: frozenset[Path]
    documents: tuple[Object, ...]

    @classmethod
    def of(cls, directory: Path) -> Bundle:
        """The kustomization in that directory, and those it is based on."""
        file = directory / "kustomization.yaml"
        own = yaml.safe_load(file.read_text())
        named = [directory / name for name in own["resources"]]
        named += [directory / patch["path"] for patch in own.get("patches", ()) if "path" in patch]
        bases = [cls.of(one.resolve()) for one in named if one.is_dir()]
        files = [one for one in named if one.is_file()]
        documents = [document for one in files for document in yaml.safe_load_all(one.read_text())]
        return cls(
            frozenset((file, *files)).union(*(base.files for base in bases)),
            (*(document for base in bases for document in base.documents), *documents),
        )

    def all(self, kind: str) -> list[Object]:
        """Its documents of one kind."""
        return [document for document in self.documents if document["kind"] == kind]

    def one(self, kind: str, name: str) -> Object:
        """The one document of that kind and name."""
        [found] = [document for document in self.all(kind) if document["metadata"]["name"] == name]
        return found

    def pods(self) -> Iterator[Object]:
        """The specs of all pods, those in patches too."""
        return (deployment["spec"]["template"]["spec"] for deployment in self.all("Deployment"))


def containers(pod: Object) -> list[Object]:
    """All containers of a pod's spec."""
    return [*pod.get("initContainers", ()), *pod["containers"]]


@dataclass(frozen=True)
class Installation:
    """One of the kustomizations, made a place's own as docs/deployment.md says."""

    place: Place
    directory: Path

    @classmethod
    def base(cls, place: Place, directory: Path) -> Installation:
        """The service: an overlay says where, and which image."""
        shutil.copytree(DEPLOY, directory / "deploy")
        return cls(place, _overlay(directory, "base", namespace=place.namespace))

    @classmethod
    def sidecar(cls, place: Place, directory: Path) -> Installation:
        """The sidecar: a copy with other names. Its control plane has a namespace of its own, `other`."""
        shutil.copytree(DEPLOY, directory / "deploy")
        for file in (directory / "deploy").rglob("*.yaml"):
            file.write_text(_moved(file.read_text(), {"agents": place.namespace, "control-plane": other(place)}))
        return cls(place, _overlay(directory, "sidecar"))

    async def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What a kubectl prints."""
        process = await self.start(*arguments)
        try:
            out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 120)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
        assert process.returncode == 0, err.decode()
        return out.decode()

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Begins a kubectl."""
        pipe, cluster = asyncio.subprocess.PIPE, ("--kubeconfig", self.place.kubeconfig)
        return await asyncio.create_subprocess_exec(KUBECTL, *cluster, *arguments, stdin=pipe, stdout=pipe, stderr=pipe)

    async def documents(self) -> list[Object]:
        """What kubectl makes of it."""
        return list(yaml.safe_load_all(await self.kubectl("kustomize", str(self.directory))))

    async def apply(self, *options: str) -> str:
        """Applies it, with every field checked; what became of each document, one a line."""
        return await self.kubectl(
            "apply", "--server-side", "--validate=strict", *options, "--kustomize", str(self.directory)
        )

    async def delete(self, namespace: str, deployment: str) -> None:
        """Deletes all of it but the place itself, and waits until it is gone: first its pods, which need the Role."""
        where = ("--namespace", namespace)
        await self.kubectl(*where, "delete", f"deployment/{deployment}", "--cascade=foreground")
        documents = [one for one in await self.documents() if one["metadata"]["name"] != self.place.namespace]
        await self.kubectl("delete", "--ignore-not-found", "--filename", "-", stdin=yaml.safe_dump_all(documents))


def other(place: Place) -> str:
    """The namespace of the control plane that the sidecar is beside."""
    return f"{place.namespace}-plane"


def _moved(text: str, namespaces: Mapping[str, str]) -> str:
    """The manifests in other namespaces."""
    pattern = rf"(kind: Namespace\nmetadata:\n  name: |namespace: |--namespace=)({'|'.join(namespaces)})\b"
    return re.sub(pattern, lambda found: found[1] + namespaces[found[2]], text)


def _overlay(directory: Path, variant: str, **settings: str) -> Path:
    overlay = directory / "own"
    overlay.mkdir()
    name, _, tag = (IMAGE or "claude-k8s-adapter:test").rpartition(":")
    images = [{"name": "claude-k8s-adapter", "newName": name, "newTag": tag}]
    kustomization = {"resources": [f"../deploy/{variant}"], "images": images, **settings}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return overlay
