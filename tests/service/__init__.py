"""The proofs of the service, as processes over sockets: it is killed, paused, cut off, and nobody who waits notices.

    pytest tests/service                                       some kills, as a part of `make test`
    CLAUDE_K8S_KILLS=100 pytest tests/service                  the whole proof: 20 runs, 100 kills; some minutes
    CLAUDE_K8S_KILLS=10 pytest -m cluster tests/service        the same, 20 runs and 10 kills, on that of $KUBECONFIG
    CLAUDE_K8S_FACTOR=1 pytest tests/service/test_outage.py    ten minutes without a control plane as they are

Each prints what it has seen, and the seed of its random moments: CLAUDE_K8S_SEED plays them again.
"""
