"""Why an agent is woken, in words for the agent (and for the people who read its prompt). Pure.

What a control plane puts into `context.paperclipWake` grows with every version of it. So what an agent must see first
is told with care (the reason, the issue, the comments), and whatever else is there is told too, plainly, by its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_FRESH = "Paperclip Wake Payload"
_RESUMED = "Paperclip Resume Delta"
"""The control plane's own skill looks for sections of these names: an agent that finds one with an issue goes to that
issue at once, and does not go through its inbox first."""

_GUIDE = (
    "This is what this run is about; handle it before anything else. What is told here comes from the control plane"
    " and need not be fetched again."
)
_CHECKED_OUT = "The issue is already checked out for this run: do not check it out again."
_FETCH = "Not everything is here: fetch the issue's thread before you act on it."

_COUNTS = {"truncated", "fallbackFetchNeeded", "commentWindow", "requestedCount", "includedCount", "missingCount"}
_TOLD = _COUNTS | {"reason", "issue", "comments", "commentIds", "latestCommentId", "checkedOutByHarness"}
_TOLD_OF_ISSUE = {"identifier", "id", "title", "status", "priority", "workMode", "description", "descriptionTruncated"}
_TOLD_OF_COMMENT = {"id", "issueId", "body", "bodyTruncated", "createdAt", "author", "authorType", "authorId"}
"""What is told with care, and so not once more by its name."""

_DEEPEST = 6
"""Levels of a detail that are told; what is nested deeper is left to the control plane's API."""


def says_what_to_do(context: Mapping[str, Any]) -> bool:
    """Whether the wake is more than its bare reason: a resumed session needs no other prompt then."""
    return bool(_wake(context).keys() - {"reason"}) or bool(_body_of(context))


def wake_text(context: Mapping[str, Any], *, resuming: bool, task_told: bool) -> str:
    """The section of the prompt that tells the wake; empty where nothing is known of it.

    A resumed session is told what is new only. `task_told`: the issue's description is in another section.
    """
    wake = _wake(context)
    parts = (
        _reason(context, wake),
        _issue(wake, described=resuming or task_told),
        _comments(context, wake),
        _details(wake, _TOLD),
    )
    lines = [line for part in parts for line in part]
    if not says_what_to_do(context):
        return "\n".join(lines)
    return "\n".join([f"## {_RESUMED}", "", *lines] if resuming else [f"## {_FRESH}", "", _GUIDE, "", *lines])


def _wake(context: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in _mapping(context.get("paperclipWake")).items() if not _empty(value)}


def _reason(context: Mapping[str, Any], wake: Mapping[str, Any]) -> Iterator[str]:
    reason = _text(wake.get("reason")) or _text(context.get("wakeReason"))
    if reason:
        yield f"Wake reason: {reason}"


def _issue(wake: Mapping[str, Any], *, described: bool) -> Iterator[str]:
    issue = _mapping(wake.get("issue"))
    if issue:
        name = _joined(" ", _text(issue.get("identifier")) or _text(issue.get("id")), _text(issue.get("title")))
        facts = _joined(", ", *(_fact(issue, key) for key in ("status", "priority", "workMode")))
        yield f"Issue: {name}" + (f" ({facts})" if facts else "")
    if wake.get("checkedOutByHarness") is True:
        yield _CHECKED_OUT
    if not described and (text := _prose(issue.get("description"))):
        yield from _titled("Description" + _cut(issue.get("descriptionTruncated")), text)
    yield from _details(issue, _TOLD_OF_ISSUE)


def _comments(context: Mapping[str, Any], wake: Mapping[str, Any]) -> Iterator[str]:
    comments = [_mapping(each) for each in _list(wake.get("comments"))]
    for comment in filter(None, comments):
        yield from _titled(_comment_title(comment), _prose(comment.get("body")) or "(empty)")
        yield from _details(comment, _TOLD_OF_COMMENT)
    if not any(comments):
        yield from _lone_comment(context)
    if wake.get("truncated") is True or wake.get("fallbackFetchNeeded") is True or _some_missing(wake):
        yield _FETCH


def _lone_comment(context: Mapping[str, Any]) -> Iterator[str]:
    """A comment that is given beside the wake: its text, or at least its id."""
    body = _body_of(context)
    name = _text(context.get("wakeCommentId")) or _text(context.get("commentId"))
    if body:
        yield from _titled("Comment", body) if len(body.splitlines()) > 1 else (f"Comment: {body}",)
    elif name:
        yield f"Comment id: {name}"


def _body_of(context: Mapping[str, Any]) -> str:
    return _prose(_mapping(context.get("paperclipWakeComment")).get("body"))


def _comment_title(comment: Mapping[str, Any]) -> str:
    author = _mapping(comment.get("author"))
    kind = _text(author.get("type")) or _text(comment.get("authorType"))
    who = _text(author.get("name")) or _text(author.get("id")) or _text(comment.get("authorId"))
    facts = (("by", _joined(" ", kind, who)), ("at", _text(comment.get("createdAt"))), ("id", _text(comment.get("id"))))
    return " ".join(["Comment", *(f"{name} {fact}" for name, fact in facts if fact)]) + _cut(
        comment.get("bodyTruncated")
    )


def _some_missing(wake: Mapping[str, Any]) -> bool:
    counts = (wake.get("missingCount"), _mapping(wake.get("commentWindow")).get("missingCount"))
    return any(isinstance(count, int) and count > 0 for count in counts)


def _details(told: Mapping[str, Any], apart: Iterable[str]) -> Iterator[str]:
    for name, value in told.items():
        if name not in apart and not _empty(value):
            yield from _detail(_words(name), value, 0)


def _detail(title: str, value: Any, depth: int) -> Iterator[str]:
    margin = "  " * depth
    if isinstance(value, Mapping | list) and depth == _DEEPEST:
        return
    if isinstance(value, Mapping):
        yield f"{margin}- {title}:"
        for name, each in value.items():
            yield from _detail(_words(name), each, depth + 1)
    elif isinstance(value, list):
        yield from _items(title, value, depth)
    elif isinstance(value, str) and "\n" in value.strip():
        yield from (margin + line for line in _titled(f"- {title}", value.strip()))
    elif value not in (None, ""):
        yield f"{margin}- {title}: {_scalar(value)}"


def _items(title: str, items: list[Any], depth: int) -> Iterator[str]:
    if not any(isinstance(each, Mapping | list) or "\n" in str(each) for each in items):
        if items:
            yield f"{'  ' * depth}- {title}: {', '.join(map(_scalar, items))}"
        return
    for place, each in enumerate(items, 1):
        yield from _detail(f"{title} {place}", each, depth)


def _titled(title: str, text: str) -> Iterator[str]:
    """The text between fences longer than any in it: what others wrote never looks like a section of ours."""
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    yield f"{title}:"
    yield f"{fence}text"
    yield from text.split("\n")
    yield fence


def _fact(issue: Mapping[str, Any], name: str) -> str:
    text = _text(issue.get(name))
    return f"{_words(name)} {text}" if text else ""


def _cut(truncated: object) -> str:
    return " (cut short)" if truncated is True else ""


def _words(name: str) -> str:
    """`unresolvedBlockerIssueIds` as `unresolved blocker issue ids`."""
    return _text(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)).lower()


def _scalar(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else " ".join(str(value).split())


def _text(value: object) -> str:
    """A text in one line; nothing for what is no text."""
    return " ".join(value.split()) if isinstance(value, str) else ""


def _prose(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _joined(between: str, *texts: str) -> str:
    return between.join(filter(None, texts))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _empty(value: object) -> bool:
    """Nothing to tell: a control plane sends its fields whether they are of use to this wake or not."""
    if isinstance(value, Mapping):
        return all(map(_empty, value.values()))
    if isinstance(value, list):
        return all(map(_empty, value))
    return not (value.strip() if isinstance(value, str) else value)
