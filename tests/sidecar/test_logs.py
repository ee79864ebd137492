"""The service's own log: one form for everything, and nothing in it of what a library may quote."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """if True:
    import logging, sys
    import structlog
    from adapter.sidecar.logs import log_to_stderr
    log_to_stderr(sys.argv[1])
    structlog.contextvars.bind_contextvars(run_id="r")
    structlog.get_logger("adapter").info("Job x created", kind="job")
    structlog.get_logger("adapter").debug("not this")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    logging.getLogger("httpx").info("not this: http://plane/?token=hunter2")
    try:
        raise ValueError("input was hunter2")
    except ValueError as error:
        logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=error)
"""


def said(form: str) -> str:
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE, form], capture_output=True, text=True, check=True
    )
    assert result.stdout == ""
    return result.stderr


def test_every_line_is_an_object_with_its_run() -> None:
    ours, theirs, fault = [json.loads(line) for line in said("json").splitlines()]
    assert (ours["event"], ours["kind"], ours["run_id"], ours["level"]) == ("Job x created", "job", "r", "info")
    assert (theirs["event"], theirs["logger"]) == ("Invalid HTTP request received.", "uvicorn.error")
    assert (fault["error"], "exception" in fault) == ("ValueError", False)


@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_is_quoted(form: str) -> None:
    text = said(form)
    assert "Job x created" in text
    assert "ValueError" in text
    assert "hunter2" not in text
    assert "\x1b" not in text, "nobody's terminal"
