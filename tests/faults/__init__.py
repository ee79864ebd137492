"""The fault matrix: what can go wrong, drawn at random and judged by those who had no part in it.

`python -m tests.faults` plays it. docs/reliability.md holds its figures.
"""
