"""A program: `claude-k8s` with a shorter tenure. What takes 15 s of silence with the real one takes 3 s with this.

`python -m tests.service.hasty serve ...`
"""

from __future__ import annotations

import dataclasses

from adapter import tenure

SHORT = {"lease": 3.0, "renew": 0.3, "give_up": 2.0}


def shorten() -> None:
    """Changes the times that a tenure has by default, of this process alone."""
    defaults = {field.name: field.default for field in dataclasses.fields(tenure.Tenure)} | SHORT
    tenure.Tenure.__init__.__kwdefaults__ = defaults


if __name__ == "__main__":
    shorten()
    from adapter.cli import main

    main()
