"""The numbers of the adapter, each beside its aim: `make bench`.

Each number is a ratio, or a difference of two times, taken within one run, so that a noisy machine matters little.
Nothing here is an assertion. What must not share a process with what it measures is a program of its own here.
"""
