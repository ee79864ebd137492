"""Quantities as numbers, and what a pod counts for."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.cluster.quantities import pod_amounts, quantity, without


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[
            ("500m", Fraction(1, 2)),
            ("2", 2),
            (4, 4),
            ("0", 0),
            (".5", Fraction(1, 2)),
            ("1.", 1),
            ("1.5Gi", 3 * 2**29),
        ],
        *[("1k", 1000), ("1Ki", 1024), ("12E", 12 * 10**18), ("1e3", 1000), ("12E3", 12000), ("5E-1", Fraction(1, 2))],
        *[("100n", Fraction(1, 10**7)), ("7u", Fraction(7, 10**6)), ("-1", -1), ("+1", 1)],
    ],
)
def test_a_quantity(text: object, number: Fraction | int) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "x", "1KB", "1 Gi", "1ki", "0x10", "\u0661", "1e", "--1", "1.5.2"])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        quantity(text)


@given(st.integers(0, 10**6), st.sampled_from(["", "m", "k", "Ki", "M", "Mi", "G", "Gi"]))
def test_quantities_grow_with_their_number(number: int, unit: str) -> None:
    assert quantity(f"{number + 1}{unit}") - quantity(f"{number}{unit}") == quantity(f"1{unit}")


def container(name: str = "c", *, always: bool = False, **resources: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "resources": resources} | ({"restartPolicy": "Always"} if always else {})


def test_containers_and_sidecars_together() -> None:
    pod = {
        "containers": [container(requests={"cpu": "1"}), container(requests={"cpu": "500m", "memory": "1Gi"})],
        "initContainers": [container(requests={"cpu": "100m"}, always=True)],
    }
    assert pod_amounts(pod, "requests") == {"cpu": Fraction(16, 10), "memory": 2**30}


def test_an_init_container_counts_where_it_needs_more() -> None:
    pod = {
        "initContainers": [
            container(limits={"cpu": "1"}, always=True),
            container(limits={"cpu": "4"}),
            container(limits={"cpu": "1"}, always=True),
        ],
        "containers": [container(limits={"cpu": "2"})],
    }
    assert pod_amounts(pod, "limits") == {"cpu": 5}


def test_a_request_that_is_not_given_is_the_limit() -> None:
    pod = {"containers": [container(limits={"cpu": "2", "memory": "1Gi"}, requests={"cpu": "1"})]}
    assert pod_amounts(pod, "requests") == {"cpu": 1, "memory": 2**30}
    assert pod_amounts({"containers": [{"name": "bare"}]}, "requests") == {}


def test_who_has_no_bound() -> None:
    pod = {"initContainers": [container("a")], "containers": [container("b", limits={"cpu": "1"}), container("c")]}
    assert without(pod, "limits", "cpu") == ["a", "c"]
    assert without(pod, "requests", "cpu") == ["a", "c"]
