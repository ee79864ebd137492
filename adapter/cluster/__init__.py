"""Speaks Kubernetes, and nothing else in the package does."""
