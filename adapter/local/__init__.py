"""The embedded cluster: the real Kubernetes wire on loopback; its pods are processes of this machine.

A tool of its own, for development and tests. Commands run here, as the current user: never point it at a
manifest that is not trusted.
"""

from .cluster import Change, LocalCluster
from .faults import Fault, Handle
from .records import RequestRecord, StreamRecord
from .timing import Timing

__all__ = ["Change", "Fault", "Handle", "LocalCluster", "RequestRecord", "StreamRecord", "Timing"]
