"""Processes of the service on an embedded cluster, or on the real one of $KUBECONFIG; afterwards none may be left."""

from tests.contract.conftest import place

__all__ = ["place"]
