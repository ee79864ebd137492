"""`claude-k8s manifest --context FILE`: the Job of an agent's run, without running it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from typing import Any

import click
import yaml

from adapter.agent import checks
from adapter.agents import own_pod_of, prepare
from adapter.cli.clusters import choice_of, connected, default_instance, run_loop
from adapter.cli.contexts import context_option, read_context
from adapter.cli.settings import CONTEXT, cluster_options
from adapter.cluster.jobs import Jobs
from adapter.errors import InvalidRequest
from adapter.work import Work

Object = Mapping[str, Any]


@click.command(context_settings=CONTEXT)
@context_option
@click.option("--server", is_flag=True, help="Ask the API server, by dry run; print the Job as it would be.")
@click.option("--diff", is_flag=True, help="Show it against the Job that the run has in the cluster.")
@cluster_options
def manifest(context_file: str, *, server: bool, diff: bool, **options: Any) -> int:
    """Print the Job that a run context makes, as YAML. Nothing is created.

    Of the Secret beside it only the names and sizes are shown, as a comment. With --diff the exit code is 1 where the
    two differ.
    """
    context = read_context(context_file)

    async def made() -> tuple[Work, Object | None]:
        if not (server or diff or "KUBERNETES_SERVICE_HOST" in os.environ):  # no cluster is needed, nothing inherited
            return (await prepare(context, options["instance"] or default_instance(), None)).work, None
        async with connected(choice_of(options)) as adapter:
            own = await own_pod_of(adapter)
            attempt = await prepare(context, adapter.instance, own, namespace=adapter.namespace)
            place = adapter.connection, attempt.config.namespace
            return attempt.work, await _asked(attempt.work, Jobs(*place, call=adapter.limits.call), server, diff)

    work, found = run_loop(made())
    if diff:
        return _print_diff(work, found)
    click.echo(_yaml(_plain(found or work.manifest)), nl=False)
    for note in (*_contents(work), *work.notes):
        click.echo(f"# {note}")
    return 0


async def _asked(work: Work, jobs: Jobs, server: bool, diff: bool) -> Object | None:
    if diff:
        return await jobs.raw(work.name)
    return await jobs.dry_run(work.manifest) if server else None


def _print_diff(work: Work, live: Object | None) -> int:
    if live is None:
        raise InvalidRequest(f"there is no Job {work.name} to compare with")
    wanted = {**work.manifest, "spec": {**work.manifest["spec"], "suspend": False}}  # as it is once it was let run
    ours, theirs = _yaml(_plain(wanted)), _yaml(_plain(_only_what(wanted, live)))
    sides = theirs.splitlines(), ours.splitlines(), "in the cluster", "from the context"
    lines = list(difflib.unified_diff(*sides, lineterm=""))
    for line in lines:
        click.secho(line, fg={"+": "green", "-": "red"}.get(line[:1]))
    return 1 if lines else 0


def _only_what(wanted: Any, live: Any) -> Any:
    """The live object without what the cluster has added: defaults are no difference, nor another way to write one."""
    if isinstance(wanted, str) and isinstance(live, str) and _same_amount(wanted, live):
        return wanted
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return {name: _only_what(value, live[name]) for name, value in wanted.items() if name in live}
    if isinstance(wanted, list | tuple) and isinstance(live, list) and len(wanted) == len(live):
        return [_only_what(one, other) for one, other in zip(wanted, live, strict=True)]
    return live


def _same_amount(one: str, other: str) -> bool:
    """Whether both are one quantity: the API server writes 4000m as 4."""
    try:
        return checks.amount(one) == checks.amount(other)
    except (ValueError, KeyError):
        return False


def _contents(work: Work) -> Iterator[str]:
    if work.secret:
        sizes = ", ".join(f"{name} ({len(value)} bytes)" for name, value in sorted(work.secret.items()))
        yield f"Secret {work.name}, owned by the Job, made before it is let run: {sizes}"


def _plain(obj: Object) -> Object:
    """Without what only the API server writes."""
    metadata = {name: value for name, value in obj.get("metadata", {}).items() if name != "managedFields"}
    return {name: value for name, value in obj.items() if name != "status"} | {"metadata": metadata}


class _Dumper(yaml.SafeDumper):
    """Without anchors: nobody writes manifests with them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(obj: Object) -> str:
    return yaml.dump(_lists(obj), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


def _lists(value: Any) -> Any:
    """Plain containers: a mapping or a tuple of ours is none that YAML knows."""
    if isinstance(value, Mapping):
        return {name: _lists(one) for name, one in value.items()}
    return [_lists(one) for one in value] if isinstance(value, list | tuple) else value
