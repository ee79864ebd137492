"""`python -m tests.bench`: measures and prints the table. Fails only when something is broken, never for a number."""

from __future__ import annotations

import argparse
import asyncio
from importlib import import_module

from rich.console import Console
from rich.table import Table

from tests.bench.figures import Figure
from tests.bench.programs import quiet

NUMBERS = ("ending", "closing", "calls", "cancels", "throughput", "transcript", "many", "service", "imports")

WIDTH = 150

PATIENCE = 150
"""Seconds after which something is broken."""


def main() -> None:
    quiet()
    options = _arguments()
    console = Console(width=WIDTH)
    console.print(_table([], header=True))
    for name in options.only or NUMBERS:
        console.print(_table(asyncio.run(_measured(name, full=options.full))))


async def _measured(name: str, *, full: bool) -> list[Figure]:
    measure = import_module(f"tests.bench.{name}").measure
    async with asyncio.timeout(PATIENCE * (1 + 4 * full)):
        figures: list[Figure] = await measure(full=full)
    return figures


def _table(figures: list[Figure], *, header: bool = False) -> Table:
    table = Table(box=None, pad_edge=False, show_header=header)
    table.add_column("what", width=46)
    for column in ("measured", "aim"):
        table.add_column(column, justify="right", width=10)
    table.add_column("", width=4)
    table.add_column("how it came about", overflow="fold", width=WIDTH - 78)
    for figure in figures:
        table.add_row(figure.what, _text(figure.value, figure), _text(figure.aim, figure), figure.verdict, figure.note)
    return table


def _text(value: float | None, figure: Figure) -> str:
    if value is None:
        return "-"
    digits = 2 if figure.unit in ("x", "s") else 1 if figure.unit == "ms" else 0
    return f"{value:.{digits}f} {figure.unit}".rstrip()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=NUMBERS, metavar="NAME", help=f"one of {', '.join(NUMBERS)}")
    parser.add_argument("--full", action="store_true", help="more runs, and a thousand of them at once")
    return parser.parse_args()


if __name__ == "__main__":
    main()
