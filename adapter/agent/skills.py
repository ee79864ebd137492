"""Skills: which there are, which of them an agent is to have, and how the control plane is told. Pure.

They are `ephemeral`: put into the pod of each run anew, installed nowhere. The fields, states and origins of a
snapshot are those of `AdapterSkillSnapshot` in paperclip's adapter-utils (2026.916.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

ADAPTER_TYPE = "claude_k8s"
OPERATIONAL = "paperclipai/paperclip/paperclip"
"""The skill that teaches an agent to use the control plane. It is never a matter of choice: later control planes no
longer mark it as required, and expect adapters to know it."""

_BUNDLED = "Will be put into the pod of the agent's next run."
_ABSENT = "The control plane does not offer this skill."
_NO_FILES = "The skill's files are not available."


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill the control plane offers. `source` is a directory with a SKILL.md, or a file, on the plane's host.

    `absent` is the plane's own reason why the files are not there, if it knows that they are not.
    """

    key: str
    name: str
    source: str
    required: bool = False
    reason: str | None = None
    absent: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What the control plane offers, what of it the agent is to have (as keys), and what was wrong with either."""

    skills: tuple[Skill, ...]
    desired: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def wanted(self) -> tuple[Skill, ...]:
        """The skills that the agent is to have."""
        return tuple(skill for skill in self.skills if skill.key in self.desired)

    def lacking(self) -> tuple[str, ...]:
        """What the agent is to have and nobody offers."""
        offered = {skill.key for skill in self.skills}
        return tuple(key for key in self.desired if key not in offered)


def offer(config: Mapping[str, Any], skills: object = None) -> Offer:
    """What a configuration's `paperclipRuntimeSkills` offer, and what its `paperclipSkillSync` makes of that.

    `skills` stands in for a configuration without a list. Required skills are always desired; without a preference
    no other is. A desired skill may be named by its key, its name, or the last part of its key, where only one is
    meant.
    """
    entries = config.get("paperclipRuntimeSkills", skills)
    found = [_skill(entry) for entry in entries] if isinstance(entries, list | tuple) else []
    wrong = tuple(f"paperclipRuntimeSkills[{at}] has no key: skipped" for at, skill in enumerate(found) if not skill)
    known = _first_of_each(skill for skill in found if skill)
    always = [skill.key for skill in known if skill.required]
    chosen = [_resolve(name, known) for name in _preference(config)]
    return Offer(known, tuple(dict.fromkeys([*always, *chosen])), wrong)


def list_skills(
    config: Mapping[str, Any], *, skills: object = None, external: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """The snapshot of an agent's skills. `external` are those found installed in its home: name to path, if known."""
    offered = offer(config, skills)
    lacking = offered.lacking()
    entries = [_entry(skill, skill.key in offered.desired) for skill in offered.skills]
    entries += [_missing(key) for key in lacking]
    taken = {entry["runtimeName"] for entry in entries} | {entry["key"] for entry in entries}
    entries += [_external(name, path) for name, path in (external or {}).items() if name not in taken]
    return {
        "adapterType": ADAPTER_TYPE,
        "supported": True,
        "mode": "ephemeral",
        "desiredSkills": list(offered.desired),
        "entries": sorted(entries, key=lambda entry: str(entry["key"])),
        "warnings": [*offered.warnings, *map(unavailable, lacking)],
    }


def sync_skills(
    config: Mapping[str, Any],
    desired: Iterable[str],
    *,
    skills: object = None,
    external: Mapping[str, str | None] | None = None,
) -> dict[str, Any]:
    """The snapshot, and nothing else: there is nothing installed that could be brought into line.

    What is desired is in the configuration already, where the next run reads it.
    """
    del desired
    return list_skills(config, skills=skills, external=external)


def unavailable(key: str) -> str:
    """The warning that a desired skill is offered by nobody."""
    return f"desired skill {key!a} is not among those the control plane offers"


def _skill(entry: object) -> Skill | None:
    if not isinstance(entry, Mapping):
        return None
    name = _text(entry.get("runtimeName")) or _text(entry.get("name"))
    key = _text(entry.get("key")) or name
    if not key:
        return None
    gone = entry.get("sourceStatus") == "missing"
    return Skill(
        key=key,
        name=name or _slug(key),
        source=_text(entry.get("source")),
        required=entry.get("required") is True or key == OPERATIONAL,
        reason=_text(entry.get("requiredReason")) or None,
        absent=(" ".join(_text(entry.get("missingDetail")).split()) or _NO_FILES) if gone else None,
    )


def _first_of_each(skills: Iterable[Skill]) -> tuple[Skill, ...]:
    known: dict[str, Skill] = {}
    for skill in skills:
        known.setdefault(skill.key, skill)
    return tuple(known.values())


def _preference(config: Mapping[str, Any]) -> list[str]:
    sync = config.get("paperclipSkillSync")
    named = sync.get("desiredSkills") if isinstance(sync, Mapping) else None
    if not isinstance(named, list | tuple):
        return []
    texts = (_text(each.get("key") if isinstance(each, Mapping) else each) for each in named)
    return [text for text in texts if text]


def _resolve(name: str, skills: tuple[Skill, ...]) -> str:
    if any(skill.key == name for skill in skills):
        return name
    for called in ({skill.key: skill.name for skill in skills}, {skill.key: _slug(skill.key) for skill in skills}):
        keys = [key for key, each in called.items() if each == name]
        if len(keys) == 1:
            return keys[0]
    return name


def _slug(key: str) -> str:
    return key.rpartition("/")[2]


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _entry(skill: Skill, desired: bool) -> dict[str, Any]:
    state, detail = ("configured", _BUNDLED) if desired else ("available", None)
    if skill.absent:
        state, detail = "missing", skill.absent
    return {
        "key": skill.key,
        "runtimeName": skill.name,
        "desired": desired,
        "managed": True,
        "required": skill.required,
        "requiredReason": skill.reason,
        "state": state,
        "origin": "paperclip_required" if skill.required else "company_managed",
        "originLabel": "Required by Paperclip" if skill.required else "Managed by Paperclip",
        "readOnly": False,
        "sourcePath": skill.source or None,
        "targetPath": None,
        "detail": detail,
    }


def _missing(key: str) -> dict[str, Any]:
    return {
        "key": key,
        "runtimeName": None,
        "desired": True,
        "managed": True,
        "state": "missing",
        "origin": "external_unknown",
        "originLabel": "External or unavailable",
        "readOnly": False,
        "sourcePath": None,
        "targetPath": None,
        "detail": _ABSENT,
    }


def _external(name: str, path: str | None) -> dict[str, Any]:
    return {
        "key": name,
        "runtimeName": name,
        "desired": False,
        "managed": False,
        "state": "external",
        "origin": "user_installed",
        "originLabel": "User-installed",
        "locationLabel": "~/.claude/skills",
        "readOnly": True,
        "sourcePath": None,
        "targetPath": path,
        "detail": "Installed in the agent's home, outside of the control plane.",
    }
