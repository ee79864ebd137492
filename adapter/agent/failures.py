"""Why the agent failed, as far as it was said. Pure; only positive evidence counts.

What has a field of its own comes first: Claude Code names the error of its API (`error`, `api_error_status`), the
reason of its end (`subtype`, `terminal_reason`, `stop_reason`) and the state of a limit. Then come its own phrases
(https://code.claude.com/docs/en/errors), in texts that are errors by where they stand: an error result, an API error.
Plain lines and stderr are read only where no result came, and only for what the agent itself says there: a tool server
that is `unauthorized` is not the agent's login.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from adapter.agent import resets
from adapter.agent.bounds import one_line, word
from adapter.agent.transcript import Transcript
from adapter.agent.usage import count
from adapter.errors import Code

_DETAIL_BYTES = 1500
_READ = 1000
"""Characters of a text that are looked at. An error says at once what it is; what is longer is somebody's prose."""

_MAX_TURNS = frozenset({"error_max_turns", "max_turns", "max_turns_exhausted", "turn_limit", "turn_limit_exhausted"})
_LOGIN = frozenset({"authentication_failed", "oauth_org_not_allowed"})
_QUOTA = frozenset({"billing_error", "account_on_hold"})
_UPSTREAM = frozenset({"rate_limit", "overloaded", "server_error"})
_OVERFLOW = frozenset({"prompt_too_long", "blocking_limit", "model_context_window_exceeded"})

_REJECTED = "a limit has rejected a request"

_UPSTREAM_STATUS = frozenset({408, 429, 500, 502, 503, 504, 529})

_TURNS_TEXT = re.compile(r"\bmax(?:imum)?[ _-](?:number of )?turns\b|\bturn limit (?:reached|exceeded)", re.IGNORECASE)
_SESSION_TEXT = re.compile(
    r"no conversation found with session id|unknown session|\bsession\b.{0,100}\bnot found|is not a (?:valid )?uuid"
    r"|--resume requires a valid session|does not match any session|previous_message_id",
    re.IGNORECASE,
)
_LOGIN_TEXT = re.compile(
    r"not logged in|please (?:run|use) [`'\"]?(?:/login|claude (?:auth )?login)|\blog(?:in)? required|requires? login"
    r"|please log ?in\b|invalid (?:x-)?api[ -]key|invalid bearer token|authentication[ _](?:error|failed|required)"
    r"|invalid authentication credentials|failed to authenticate|could not resolve authentication"
    r"|oauth (?:access )?token (?:has |is |was )?(?:been )?(?:expired|revoked|invalid)|api error:? *\(?401\b"
    r"|organization has (?:been )?disabled",
    re.IGNORECASE,
)
_QUOTA_TEXT = re.compile(
    r"\bhit your (?:[\w-]+ ){0,3}limit|\b(?:usage|session|weekly|monthly|daily|spend(?:ing)?|5[- ]?hour|opus|sonnet)"
    r" limit (?:has been )?(?:reached|exceeded)|reached your (?:specified )?(?:[\w-]+ )?usage limits?"
    r"|out of (?:extra usage|(?:usage )?credits)|credit balance is too low|usage credits (?:are )?required"
    r"|insufficient[ _](?:credits|quota|funds)|\bquota[ _](?:exceeded|exhausted)|usage cap reached"
    r"|servicequotaexceeded|billing_error",
    re.IGNORECASE,
)
_OVERFLOW_TEXT = re.compile(
    r"prompt is too long|exceeds? (?:the )?(?:model'?s? )?(?:maximum )?context (?:limit|window|length)"
    r"|context (?:limit|window) (?:reached|exceeded)|conversation (?:is )?too long|input is too long"
    r"|context_length_exceeded|maximum context length",
    re.IGNORECASE,
)
_MODEL_TEXT = re.compile(
    r"issue with the selected model|\bmodel[ :_-]*(?:not[ _]found|does not exist)|(?:unknown|invalid) model\b"
    r"|not_found_error.{0,80}\bmodel",
    re.IGNORECASE,
)
_UPSTREAM_TEXT = re.compile(
    r"overloaded|rate[ _-]?limit|too many requests|request rejected \(429\)|api error:? *\(?(?:408|429|5\d\d)\b"
    r"|internal server error|service unavailable|bad gateway|gateway time-?out|temporarily (?:unavailable|limiting)"
    r"|server error mid-response|connection (?:closed|error|reset|refused|timed out)|response stalled"
    r"|request timed out|unable to connect to (?:the )?api|fetch failed|socket hang up|\be(?:connreset|timedout"
    r"|connrefused|notfound|ai_again)\b|empty or malformed response|throttl",
    re.IGNORECASE,
)
_FROM_API = re.compile(r"api error|anthropic|unable to connect to (?:the )?api", re.IGNORECASE)
_TOOL_SERVER = re.compile(r"\bmcp\b", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s'\"`<>()\[\]{};,!|]+")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was said of a failure: `facts` by fields, `errors` in texts that are errors, `loose` beside the protocol."""

    facts: frozenset[str]
    status: int
    errors: tuple[str, ...]
    loose: tuple[str, ...] = ()
    resumed: bool = False

    @classmethod
    def of(cls, transcript: Transcript, stderr: str, *, resumed: bool, trusted: bool, loose: bool) -> Evidence:
        """`trusted`: the last result is the run's; `loose`: lines beside the protocol may be believed."""
        told = trusted and transcript.failed
        api = transcript.api_error or {}
        limit = _REJECTED if (transcript.rate_limit or {}).get("status") == "rejected" else ""
        facts = frozenset(filter(None, (word(api.get("error")), limit))) | (transcript.ended if told else frozenset())
        said = (transcript.said[:_READ], *transcript.errors) if told else ()
        texts = tuple(filter(None, (*said, word(api.get("text"), _READ))))
        lines = (*transcript.tail.splitlines(), *stderr.splitlines()) if loose else ()
        status = (told and transcript.status) or count(api.get("status"))
        return cls(facts, status, texts, _own(lines), resumed)

    def says(self, pattern: re.Pattern[str]) -> str | None:
        """The first text or line that matches."""
        return next((one for one in (*self.errors, *self.loose) if pattern.search(one)), None)

    @property
    def detail(self) -> str:
        """The agent's own words for it."""
        return next(iter(self.errors), "")


def recognise(evidence: Evidence) -> tuple[Code, str] | None:
    """The code of a failure and the words that tell it; None when nothing that is known was said."""
    for code, rule in _RULES:
        found = rule(evidence)
        if found is not None:
            return code, one_line(found, _DETAIL_BYTES)
    return None


def reset_time(evidence: Evidence, transcript: Transcript, now: datetime | None) -> str | None:
    """When the limit that was hit is reset, ISO 8601 in UTC, where that was said and is still to come."""
    moments = [resets.at(transcript.rejected_until)] if transcript.rejected_until else []
    if now is not None:
        moments += [resets.said(text, now) for text in (*evidence.errors, *evidence.loose)]
    later = [moment for moment in moments if moment is not None and (now is None or moment > now)]
    return later[0].isoformat(timespec="seconds").replace("+00:00", "Z") if later else None


def login_url(texts: Iterable[str]) -> str | None:
    """The address to log in at: the first of a login or of the provider, else the first there is."""
    urls = [url.rstrip(".:?*_") for text in texts for url in _URL.findall(text)]
    own = (url for url in urls if any(mark in url.lower() for mark in ("claude", "anthropic", "auth", "login")))
    return next(own, urls[0] if urls else None)


def refused(transcript: Transcript) -> bool:
    """Whether the model declined to go on. Claude Code then ends with 0 and a result that is no error."""
    return "refusal" in transcript.ended


def _max_turns(evidence: Evidence) -> str | None:
    if evidence.facts & _MAX_TURNS:
        return evidence.detail
    return next((one for one in evidence.errors if _TURNS_TEXT.search(one)), None)


def _session(evidence: Evidence) -> str | None:
    return evidence.says(_SESSION_TEXT) if evidence.resumed else None


def _login(evidence: Evidence) -> str | None:
    by_field = evidence.status == 401 or bool(evidence.facts & _LOGIN)
    return evidence.detail if by_field else evidence.says(_LOGIN_TEXT)


def _quota(evidence: Evidence) -> str | None:
    limited = evidence.status == 429 or "rate_limit" in evidence.facts
    by_field = evidence.status == 402 or bool(evidence.facts & _QUOTA) or (limited and _REJECTED in evidence.facts)
    return evidence.detail if by_field else evidence.says(_QUOTA_TEXT)


def _overflow(evidence: Evidence) -> str | None:
    return evidence.detail if evidence.facts & _OVERFLOW else evidence.says(_OVERFLOW_TEXT)


def _model(evidence: Evidence) -> str | None:
    return evidence.detail if "model_not_found" in evidence.facts else evidence.says(_MODEL_TEXT)


def _upstream(evidence: Evidence) -> str | None:
    if evidence.facts & _UPSTREAM or evidence.status in _UPSTREAM_STATUS:
        return evidence.detail
    said = (*evidence.errors, *(line for line in evidence.loose if _FROM_API.search(line)))
    return next((one for one in said if _UPSTREAM_TEXT.search(one)), None)


_RULES: tuple[tuple[Code, Callable[[Evidence], str | None]], ...] = (
    (Code.MAX_TURNS, _max_turns),
    (Code.SESSION_UNAVAILABLE, _session),
    (Code.LOGIN_REQUIRED, _login),
    (Code.QUOTA_EXHAUSTED, _quota),
    (Code.CONTEXT_OVERFLOW, _overflow),
    (Code.MODEL_NOT_FOUND, _model),
    (Code.UPSTREAM_UNAVAILABLE, _upstream),
)
"""In this order: a limit that was hit is told as a 429 too, and a refused login may say `try again later`."""


def _own(lines: Iterable[str]) -> tuple[str, ...]:
    """The lines that may be the agent's own words."""
    return tuple(line.strip() for line in lines if line.strip() and not _TOOL_SERVER.search(line))
