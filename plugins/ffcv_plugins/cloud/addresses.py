"""From a URL to the store that has the object, and to the object's name in it."""

from __future__ import annotations

import base64
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from ffcv.beton.urls import redacted, without_secrets
from ffcv.errors import ArgumentError, BetonError, FfcvError, MissingFileError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

__all__ = ["LOGIN", "set_store", "store_of"]

_given: dict[str, ObjectStore] = {}

_with_secrets: dict[str, str] = {}
"""URLs with secrets by how they are shown, for who opens one of them again in this process, as a
dataset of many files does."""

LOGIN = (
    "credentials come from the environment (AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, "
    "AZURE_STORAGE_ACCOUNT_NAME and the like; AWS_SKIP_SIGNATURE=true for public buckets) or by "
    "ffcv_plugins.cloud.set_store; what a URL has for secrets is not sent to other processes"
)
"""What to say where they are missing or not enough."""

_ENDPOINTS = "AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"


def set_store(prefix: str, store: ObjectStore | None) -> None:
    """Have URLs read through a store of one's own, in this process.

    For what the environment cannot say: credentials of several accounts, a provider of credentials
    that expire, certificates. The rest of the URL is the name of the object in the store.
    Processes that are started later, rather than forked, have to call it themselves.

    Args:
        prefix: what the URLs begin with, such as ``"s3://bucket/"``. Of several, the longest
            counts.
        store: a store of ``obstore.store``; ``None`` forgets the one that was given.

    Raises:
        ArgumentError: the prefix is none of a URL.

    Example:
        >>> from obstore.store import MemoryStore
        >>> set_store("memory://here/", MemoryStore())
        >>> set_store("memory://here/", None)
    """
    if not isinstance(prefix, str) or not re.match(r"\w+://", prefix):
        raise ArgumentError(f"set_store: expected the beginning of a URL, got {prefix!r}")
    if store is None:
        _given.pop(prefix, None)
    else:
        _given[prefix] = store


def store_of(url: str) -> tuple[ObjectStore, str]:
    """The store that a URL means, and the name of the object in it.

    Raises:
        MissingFileError: the URL names no bucket, no server or no object, or there is no store.
        BetonError: the store refuses it.
    """
    shown = redacted(url)
    if shown != url and url.lower().startswith("http"):  # in others it is refused below
        _with_secrets[shown] = url
    url = _with_secrets.get(shown, url)
    for prefix in sorted(_given, key=len, reverse=True):
        if url.startswith(prefix):
            return _given[prefix], _named(shown, url[len(prefix) :].lstrip("/"))
    scheme = urlsplit(url).scheme
    if scheme == "memory":
        raise MissingFileError(
            shown,
            "nothing is there: give the store that has it, by "
            "ffcv_plugins.cloud.set_store('memory://', obstore.store.MemoryStore())",
        )
    try:
        return _server(url, shown) if scheme in ("http", "https") else _bucket(url, shown)
    except FfcvError:
        raise
    except Exception as error:  # of several kinds, whose texts may show what the URL hides
        words = without_secrets(str(error).partition("\n")[0])
    # Out here, where the other error is not its context, which would be shown as well.
    login = f"; {LOGIN}" if scheme not in ("http", "https") else ""
    raise BetonError(shown, f"no store can be made for it: {words}{login}")


def _server(url: str, shown: str) -> tuple[ObjectStore, str]:
    """A web server: the whole URL is its address, so that nothing in it is quoted anew."""
    from obstore.store import HTTPStore

    parts = urlsplit(url)
    if not parts.hostname:
        raise MissingFileError(shown, f"it names no server; expected {parts.scheme}://server/path")
    _named(shown, parts.path.strip("/"))
    options = _client(parts.scheme == "http")
    user, at, server = parts.netloc.rpartition("@")
    if at:
        login = base64.b64encode(unquote(user).encode()).decode()
        options["default_headers"] = {"Authorization": f"Basic {login}"}
    address = urlunsplit((parts.scheme, server, parts.path, parts.query, ""))
    return HTTPStore(address, client_options=options, retry_config=_no_retries()), ""


def _bucket(url: str, shown: str) -> tuple[ObjectStore, str]:
    """A bucket or container, with credentials and all else as the environment has it."""
    from obstore.store import AzureStore, GCSStore, S3Store

    scheme, _, rest = url.partition("://")
    bucket, _, name = rest.partition("/")
    if shown != url:
        raise MissingFileError(
            shown,
            "its URL has a user, a query or a fragment; credentials and options of buckets come "
            "from the environment, such as AWS_ACCESS_KEY_ID, or by ffcv_plugins.cloud.set_store",
        )
    if not bucket:
        raise MissingFileError(shown, f"it names no bucket; expected {scheme}://bucket/path")
    _named(shown, name)
    retries = _no_retries()
    if scheme.lower() == "gs":
        return GCSStore(bucket, client_options=_client(), retry_config=retries), name
    if scheme.lower() == "az":
        return AzureStore(bucket, client_options=_client(), retry_config=retries), name
    is_open = any(os.environ.get(key, "").startswith("http://") for key in _ENDPOINTS)
    return S3Store(bucket, client_options=_client(is_open), retry_config=retries), name


def _named(shown: str, name: str) -> str:
    if not name:
        raise MissingFileError(shown, "it names no object; expected a path behind it")
    return name


def _client(allow_http: bool = False) -> ClientConfig:
    return {
        "allow_http": allow_http,
        "connect_timeout": "5s",
        "read_timeout": "15s",
        "timeout": "60s",
        "pool_max_idle_per_host": "128",
    }


def _no_retries() -> RetryConfig:
    """We try again ourselves, for bodies that break off as well, and count it."""
    return {"max_retries": 0}
