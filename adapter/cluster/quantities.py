"""Kubernetes quantities as numbers, and what the containers of a pod ask for together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:[eE]([+-]?\d{1,3})|([numkMGTPE]|[KMGTPE]i))?", re.ASCII)
_POWERS = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000)}
_POWERS |= {unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", 1)}
_POWERS |= {unit + "i": Fraction(1024**power) for power, unit in enumerate("KMGTPE", 1)}

Amounts = dict[str, Fraction]
"""By the name of the resource: `cpu` in cores, `memory` in bytes."""


def quantity(value: object) -> Fraction:
    """The number that a quantity such as `500m`, `2Gi`, `1e3` or 4 stands for. Raises ValueError."""
    found = _QUANTITY.fullmatch(str(value).strip())
    if found is None:
        raise ValueError(f"{value!r} is not a Kubernetes quantity such as 500m or 2Gi")
    number, exponent, unit = found.groups()
    factor = Fraction(10) ** int(exponent) if exponent else _POWERS.get(unit or "", Fraction(1))
    return Fraction(number) * factor


def pod_amounts(pod: Mapping[str, Any], bound: str) -> Amounts:
    """What a pod's spec counts for: its `requests` or `limits`.

    The containers and the native sidecars together, or what an init container needs beside the sidecars before it,
    whichever is more (Kubernetes' sidecar rule, KEP-753). A request that is not given is its limit.
    """
    sidecars: Amounts = {}
    most: Amounts = {}
    for container in pod.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, _amounts(container, bound)))
        else:
            most = _most((most, _sum((sidecars, _amounts(container, bound)))))
    together = _sum((sidecars, *(_amounts(container, bound) for container in pod.get("containers") or ())))
    return _most((most, together))


def without(pod: Mapping[str, Any], bound: str, resource: str) -> list[str]:
    """The names of the containers that have no `bound` for the resource."""
    containers = (*(pod.get("initContainers") or ()), *(pod.get("containers") or ()))
    return [str(each.get("name")) for each in containers if resource not in _amounts(each, bound)]


def _amounts(container: Mapping[str, Any], bound: str) -> Amounts:
    resources = container.get("resources") or {}
    given = resources.get(bound) or {}
    if bound == "requests":
        given = {**(resources.get("limits") or {}), **given}
    return {name: quantity(value) for name, value in given.items()}


def _sum(many: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for amounts in many:
        for name, amount in amounts.items():
            total[name] = total.get(name, Fraction(0)) + amount
    return total


def _most(many: Iterable[Amounts]) -> Amounts:
    most: Amounts = {}
    for amounts in many:
        for name, amount in amounts.items():
            most[name] = max(most.get(name, Fraction(0)), amount)
    return most
