"""What of a URL may be shown."""

from __future__ import annotations

import re

__all__ = ["redacted", "without_secrets"]

# A Path makes one slash of two.
_SCHEME = re.compile(r"[a-zA-Z][\w+.-]+:/+")
_URL = re.compile(_SCHEME.pattern + r"[^\s\"'<>]*")


def redacted(path: str) -> str:
    """A URL without user, password, query and fragment; a path as it is.

    Whatever may be secret stands in these parts: passwords, tokens, signatures. Messages, states
    and pickles have a URL in this form only.

    >>> redacted("https://ann:secret@host/train.beton?X-Amz-Signature=0a1b")
    'https://host/train.beton'
    >>> redacted("s3://bucket/train.beton"), redacted("/data/what?.beton")
    ('s3://bucket/train.beton', '/data/what?.beton')
    """
    found = _SCHEME.match(path)
    if found is None:
        return path
    scheme, rest = path[: found.end()], path[found.end() :]
    place, *_ = re.split(r"[?#]", rest, maxsplit=1)
    host, slash, name = place.partition("/")
    if re.search(r":(?!\d*$)", host.rpartition("@")[2]) and "@" in rest:
        # What looks like a port and is none: a password, in which a character was not quoted.
        place, *_ = re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)
        host, slash, name = place.partition("/")
    return scheme + host.rpartition("@")[2] + slash + name


def without_secrets(text: str) -> str:
    """A text with each URL in it as :func:`redacted` has it.

    >>> without_secrets("GET https://ann:secret@host/a?token=1 failed")
    'GET https://host/a failed'
    """
    return _URL.sub(lambda found: redacted(found[0]), text)
