"""The service: the adapter as a process of its own, spoken to over HTTP."""
