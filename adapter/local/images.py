"""Image names: this node needs no images, but an impossible name is as impossible as anywhere."""

from __future__ import annotations

import re

NAME = re.compile(
    r"(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?"
)


def invalid_name(image: str) -> str | None:
    """The kubelet's message for a name that is none."""
    if NAME.fullmatch(image):
        return None
    why = "repository name must be lowercase" if image.lower() != image else "invalid reference format"
    why = f"invalid reference format: {why}" if "lowercase" in why else why
    return f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": {why}'


def failing(image: str, error: str) -> list[tuple[str, str]]:
    """The two waiting states between which a pull that fails goes back and forth."""
    backing_off = f'Back-off pulling image "{image}": ErrImagePull: {error}'
    return [("ErrImagePull", error), ("ImagePullBackOff", backing_off)]
