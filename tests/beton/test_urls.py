"""No secret of a URL is shown, whoever fails."""

from __future__ import annotations

import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ffcv.beton.file import BetonFile
from ffcv.beton.urls import redacted, without_secrets
from ffcv.beton.verify import verify
from ffcv.errors import FfcvError
from ffcv.loader import Loader
from ffcv.reader import Reader

# No other part of the URLs below has capital letters.
secrets = st.text(st.sampled_from("ABCDEFGHXYZ/@:?#%&=+é"), min_size=1).map(lambda s: f"SEC{s}RET")


@given(
    st.sampled_from(["s3", "gs", "az", "http", "https", "memory", "x-y+z"]),
    st.sampled_from(["host", "host:8080", "[::1]:80", "a.b-c.org"]),
    st.text(st.sampled_from("abc-_.%2/ 0"), max_size=20),
    st.lists(secrets, min_size=3, max_size=3),
)
def test_only_scheme_host_and_path_are_left(scheme, host, path, hidden):
    user, password, token = (quote(secret, safe="") for secret in hidden)
    url = f"{scheme}://{user}:{password}@{host}/{path}?X-Token={token}#{token}"
    assert redacted(url) == f"{scheme}://{host}/{path}" == redacted(redacted(url))
    assert redacted(f"{scheme}://{user}@{host}") == f"{scheme}://{host}"


@given(st.lists(secrets, min_size=2, max_size=2))
def test_secrets_that_were_not_quoted_are_not_shown_either(hidden):
    user, password = hidden
    url = f"https://user:{password}@host/data.beton"
    shown = redacted(url)
    assert "SEC" not in shown, shown
    assert "SEC" not in redacted(f"https://host/data.beton?{user}")


@given(st.text().filter(lambda path: ":/" not in path))
def test_paths_are_shown_as_they_are(path):
    assert redacted(path) == path


def test_texts_are_shown_without_secrets():
    text = "GET https://u:p@h/a?sig=1 in 3 ms, after 's3://k:s@b/c#d'"
    assert without_secrets(text) == "GET https://h/a in 3 ms, after 's3://b/c'"


@pytest.mark.parametrize("use", [Reader, BetonFile, lambda p: Loader(p, 4), verify])
def test_what_is_no_file_of_ours_is_named_without_secrets(use):
    with pytest.raises(FfcvError, match="://h/x.beton: ") as caught:
        use("nowhere://SECRET:SECRET@h/x.beton?SECRET")
    seen = [str(caught.value), repr(caught.value), pickle.dumps(caught.value).decode("latin-1")]
    assert "SECRET" not in "".join(seen)
