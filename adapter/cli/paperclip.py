"""`claude-k8s paperclip install DIR`: the module that Paperclip loads, written out with where it finds the service."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from adapter import paperclip as module
from adapter._version import __version__
from adapter.cli.settings import CONTEXT, setting
from adapter.loopback import is_loopback


@click.group(context_settings=CONTEXT)
def paperclip() -> None:
    """Run the agents of Paperclip as Kubernetes Jobs (docs/paperclip.md)."""


@paperclip.command(context_settings=CONTEXT)
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@setting("--url", help="Where `claude-k8s serve` is.  [default: http://127.0.0.1:8642]", metavar="URL")
@setting("--token-file", help="File with its token. The path is kept, never the token.", metavar="FILE")
@setting("--allow-http", is_flag=True, help="Plain HTTP to another machine too: secrets travel over it.")
def install(directory: Path, url: str | None, token_file: str | None, *, allow_http: bool) -> None:
    """Write Paperclip's adapter module to DIRECTORY, or bring the one that is there up to date.

    What is not given stays as it is there. The module is Paperclip's to load: it runs in its server's process, so
    DIRECTORY and the token's file must be readable there.
    """
    found = _about(directory)
    if found is None and directory.exists() and any(directory.iterdir()):
        raise click.UsageError(f"{directory} is not empty, and holds no such module: give another directory")
    given = {"url": url, "tokenFile": token_file and str(Path(token_file).absolute()), "allowHttp": allow_http or None}
    config = _config(directory) | {name: value for name, value in given.items() if value is not None}
    _check(config)
    _write(directory, config)
    click.echo(_next_steps(directory.resolve(), updated=found is not None))


def _about(directory: Path) -> dict[str, Any] | None:
    """The package.json of the module that is there; None if there is none of ours."""
    try:
        about = json.loads((directory / "package.json").read_text())
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and about.get("name") == module.NAME else None


def _config(directory: Path) -> dict[str, Any]:
    path = directory / module.CONFIG
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}; mend it, or remove it") from error
    return dict(config)


def _check(config: dict[str, Any]) -> None:
    if "url" not in config:
        return
    scheme, host = _address(config["url"])
    if scheme == "http" and not is_loopback(host) and not config.get("allowHttp"):
        raise click.BadParameter(
            f"{config['url']}: a run's secrets would leave this machine by plain HTTP: give an https address, or"
            " --allow-http where the network can be trusted",
            param_hint="--url",
        )


def _address(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter(f"{url!r} is no address such as http://127.0.0.1:8642", param_hint="--url")
    return parts.scheme, parts.hostname


def _write(directory: Path, config: dict[str, Any]) -> None:
    """All that is new first, then, in one step, the package.json that points to it; what is old last."""
    lib = f"lib-{_digest()}"
    (directory / lib).mkdir(parents=True, exist_ok=True)
    for file in module.files():
        if file.name != "package.json":
            place = Path(lib, file.name) if file.parent.name == "lib" else file
            _put(directory / place, (module.MODULE / file).read_bytes())
    _put(directory / module.CONFIG, _json(config))
    about = json.loads((module.MODULE / "package.json").read_text())
    _put(directory / "package.json", _json(about | {"version": __version__, "claudeK8s": {"lib": lib}}))
    for old in directory.glob("lib-*"):
        if old.name != lib:
            shutil.rmtree(old)


def _digest() -> str:
    """A name of its own for each content: a reload takes anew only what has another name."""
    content = b"".join((module.MODULE / file).read_bytes() for file in module.files())
    return sha256(content).hexdigest()[:12]


def _put(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _next_steps(directory: Path, *, updated: bool) -> str:
    api = "http://127.0.0.1:3100/api/adapters"
    if updated:
        return (
            f"The module in {directory} is up to date. Paperclip takes it at its next start, or with:\n\n"
            f"  curl -X POST {api}/claude_k8s/reload"
        )
    body = json.dumps({"packageName": str(directory), "isLocalPath": True})
    return (
        f"The module is in {directory}. Start `claude-k8s serve`, and tell Paperclip of the module once:\n\n"
        f"  curl -X POST {api}/install -H 'content-type: application/json' \\\n    -d '{body}'\n\n"
        "Then choose the adapter claude_k8s for an agent."
    )
