"""An embedded cluster for each test; afterwards nothing may be left."""

from tests.wire.conftest import cluster

__all__ = ["cluster"]
