"""How long the wire takes: every delay between a fact and its sight in the API."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Delays in seconds. What a user asks for (grace periods, deadlines, TTLs) is never among them."""

    schedule: float
    """pod created to pod bound"""
    prepare: float
    """pod bound to `ContainerCreating` told"""
    start: float
    """`ContainerCreating` to the first process"""
    running: float
    """process started to `running` told"""
    terminated: float
    """exit to `terminated` told, phase unchanged"""
    phase: float
    """exit to the pod's phase told"""
    eof: float
    """exit to the end of the follows"""
    pod_gone: float
    """end of the last container of a deleted pod to its deletion"""
    job_sync: float
    """news of a pod to the Job's status: the controller writes in batches"""
    job_condition: float
    """SuccessCriteriaMet or FailureTarget to Complete or Failed"""
    pod_backoff: float
    """first delay between a failed pod and its successor; doubled by each failure"""
    restart_backoff: float
    """first delay before a container is restarted in its pod; doubled by each restart"""
    collect: float
    """owner gone to its dependents' deletion"""
    mount_retry: float
    """first delay between two tries to mount a volume; doubled by each try"""
    config_retry: float
    """between two tries to create a container whose Secret or ConfigMap is missing"""
    image_pull: float
    """`ContainerCreating` to `ErrImagePull`"""
    image_backoff: float
    """between `ErrImagePull` and `ImagePullBackOff`, back and forth"""
    kubelet_back: float
    """kubelet started to logs served again: 404 `pods/log` until then"""
    node_monitor: float
    """node silent to `NotReady`"""
    taint_eviction: float
    """`NotReady` to the pods' deletion"""
    memory_poll: float
    """between two looks at the memory of a pod's processes"""

    @classmethod
    def real(cls) -> Timing:
        """As observed on Kubernetes 1.34 on an idle machine, one node."""
        return cls(
            schedule=0.03,
            prepare=0.04,
            start=0.6,
            running=0.6,
            terminated=0.9,
            phase=2.0,
            eof=1.0,
            pod_gone=0.5,
            job_sync=0.9,
            job_condition=0.02,
            pod_backoff=10.0,
            restart_backoff=10.0,
            collect=0.02,
            mount_retry=0.5,
            config_retry=10.0,
            image_pull=1.5,
            image_backoff=12.0,
            kubelet_back=1.0,
            node_monitor=15.0,
            taint_eviction=9.0,
            memory_poll=0.05,
        )

    @classmethod
    def fast(cls) -> Timing:
        """The same order of events, compressed."""
        return cls(
            schedule=0.002,
            prepare=0.002,
            start=0.002,
            running=0.005,
            terminated=0.01,
            phase=0.03,
            eof=0.02,
            pod_gone=0.01,
            job_sync=0.01,
            job_condition=0.005,
            pod_backoff=0.03,
            restart_backoff=0.03,
            collect=0.003,
            mount_retry=0.02,
            config_retry=0.03,
            image_pull=0.01,
            image_backoff=0.03,
            kubelet_back=0.05,
            node_monitor=0.03,
            taint_eviction=0.03,
            memory_poll=0.02,
        )
