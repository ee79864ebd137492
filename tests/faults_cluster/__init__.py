"""The fault matrix on a real cluster: its parts are stopped, killed and overloaded while runs are under way.

What stops or kills a part of the cluster is marked `disruptive`, runs last, and needs a script that can do it:
`CLAUDE_K8S_CLUSTER_CONTROL`, with the verbs `stop NAME [SIGNAL]`, `start NAME` and `restart NAME` for etcd, apiserver,
kcm, scheduler, containerd and kubelet. docs/reliability.md holds the figures.
"""
