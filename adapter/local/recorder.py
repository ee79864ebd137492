"""Events: what the cluster says about its objects."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from . import times
from .errors import ApiError
from .resources import EVENTS

if TYPE_CHECKING:
    from .registry import Registry
    from .store import Object


class EventRecorder:
    """Writes Events; the same one again is counted."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._names: dict[tuple[str, str, str], str] = {}

    def tell(self, about: Object, reason: str, message: str, component: str) -> None:
        self._record(about, "Normal", reason, message, component)

    def warn(self, about: Object, reason: str, message: str, component: str) -> None:
        self._record(about, "Warning", reason, message, component)

    def _record(self, about: Object, type_: str, reason: str, message: str, component: str) -> None:
        metadata = about["metadata"]
        namespace = metadata.get("namespace", "default")
        seen = (metadata["uid"], reason, message)
        name = self._names.get(seen)
        if name and self._registry.modify(EVENTS, namespace, name, _count):
            return
        name = self._names[seen] = f"{metadata['name']}.{time.time_ns():016x}"
        body: Object = {"metadata": {"name": name}, "involvedObject": _reference(about), "reason": reason}
        body |= {"message": message, "type": type_, "count": 1, "source": {"component": component}}
        body |= {"firstTimestamp": times.now(), "lastTimestamp": times.now(), "eventTime": None}
        body |= {"reportingComponent": component, "reportingInstance": ""}
        with contextlib.suppress(ApiError):  # the namespace may be on its way out
            self._registry.create(EVENTS, namespace, body)


def _count(event: Object) -> None:
    event["count"] += 1
    event["lastTimestamp"] = times.now()


def _reference(about: Object) -> dict[str, str]:
    metadata = about["metadata"]
    keys = ("namespace", "name", "uid", "resourceVersion")
    named = {key: metadata[key] for key in keys if key in metadata}
    return {"kind": about["kind"], "apiVersion": about["apiVersion"]} | named
