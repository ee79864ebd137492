"""`claude-k8s paperclip install DIR`."""

from __future__ import annotations

import json
import stat
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapter import paperclip as module
from adapter._version import __version__
from adapter.cli.paperclip import paperclip
from tests.paperclip.scene import node


def install(*arguments: object) -> Result:
    return CliRunner().invoke(paperclip, ["install", *map(str, arguments)])


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_module_is_written_and_says_what_comes_next(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("very secret")
    directory = tmp_path / "new" / "module"
    result = install(directory, "--url", "http://127.0.0.1:9", "--token-file", token)
    assert result.exit_code == 0, result.output
    assert f'"packageName": "{directory}"' in result.output
    assert "/api/adapters/install" in result.output
    assert read(directory / "claude-k8s.json") == {"url": "http://127.0.0.1:9", "tokenFile": str(token)}
    about = read(directory / "package.json")
    assert about["version"] == __version__
    assert about["name"] == module.NAME
    assert (directory / about["claudeK8s"]["lib"] / "adapter.js").exists()
    assert "very secret" not in "".join(path.read_text() for path in directory.rglob("*.js*"))
    entry = json.dumps((directory / "index.js").as_uri())
    load = f"import({entry}).then((m) => console.log(m.createServerAdapter().type))"
    assert subprocess.run([node(), "-e", load], capture_output=True, text=True, check=True).stdout == "claude_k8s\n"


def test_an_update_keeps_what_was_set_and_leaves_nothing_old(tmp_path: Path) -> None:
    install(tmp_path, "--url", "https://sidecar.example", "--token-file", "/run/token")
    (tmp_path / "lib-old").mkdir()
    result = install(tmp_path)
    assert "/reload" in result.output
    assert read(tmp_path / "claude-k8s.json") == {"url": "https://sidecar.example", "tokenFile": "/run/token"}
    assert [path.name for path in tmp_path.glob("lib-*")] == [read(tmp_path / "package.json")["claudeK8s"]["lib"]]
    assert not list(tmp_path.rglob("*.new"))


@pytest.mark.parametrize("content", ['{"name": "somebody-elses"}', "no json", "[]", None])
def test_what_is_not_ours_is_not_overwritten(tmp_path: Path, content: str | None) -> None:
    (tmp_path / ("package.json" if content else "notes.txt")).write_text(content or "mine")
    result = install(tmp_path)
    assert result.exit_code == 2
    assert "not empty" in result.output
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("url", ["ftp://x", "127.0.0.1:8642", "http://", "https:///path", "http://[::1"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    result = install(tmp_path / "module", "--url", url)
    assert result.exit_code == 2
    assert "--url" in result.output
    assert not (tmp_path / "module").exists()


def test_plain_http_to_another_machine_is_asked_for_by_name(tmp_path: Path) -> None:
    assert "plain HTTP" in install(tmp_path / "one", "--url", "http://sidecar:8642").output
    assert install(tmp_path / "one", "--url", "http://sidecar:8642", "--allow-http").exit_code == 0
    assert read(tmp_path / "one" / "claude-k8s.json") == {"url": "http://sidecar:8642", "allowHttp": True}
    for url in ("http://localhost:1", "http://127.0.0.1", "http://[::1]:2", "https://sidecar"):
        assert install(tmp_path / "two", "--url", url).exit_code == 0


def test_a_broken_configuration_is_not_written_over(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "claude-k8s.json").write_text("{")
    result = install(tmp_path, "--url", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "claude-k8s.json" in result.output


def test_paperclips_user_can_read_it(tmp_path: Path) -> None:
    install(tmp_path / "module")
    for path in (tmp_path / "module").rglob("*"):
        mode = path.stat().st_mode
        assert mode & stat.S_IROTH or not mode & stat.S_IRGRP  # as the umask has it


def test_the_module_is_in_the_wheel(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    builder = WheelBuilder(str(Path(__file__).parents[2]))
    [wheel] = builder.build(directory=str(tmp_path), versions=["standard"])
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"adapter/paperclip/{file.as_posix()}" for file in module.files()} <= names
    assert len(list(module.files())) > 10
