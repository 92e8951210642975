"""Buckets of S3, as moto has them, with what the environment says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from ffcv.errors import BetonError, ChangedFileError, MissingFileError
from ffcv.reader import Reader
from tests.cloud.conftest import write
from tests.cloud.test_reading import batches

NAME = "some folder/naïve+100%.beton"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A smaller one: moto copies all of it for each request."""
    return write(tmp_path_factory.mktemp("cloud") / "data.beton")


@pytest.fixture
def client(endpoint: str, dataset: bytes, monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "SECRET",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="bucket")
    client.put_object(Bucket="bucket", Key=NAME, Body=dataset, ACL="public-read")
    return client


def test_batches_are_those_of_a_file(client, dataset: bytes, tmp_path: Path) -> None:
    (tmp_path / "local.beton").write_bytes(dataset)
    assert batches(f"s3://bucket/{NAME}") == batches(tmp_path / "local.beton")


def test_what_is_not_there(client) -> None:
    with pytest.raises(MissingFileError, match="s3://bucket/x: no such object$"):
        Reader("s3://bucket/x")
    with pytest.raises(MissingFileError, match="s3://other/x: no such bucket$"):
        Reader("s3://other/x")


def test_an_object_that_is_replaced(client, tmp_path: Path) -> None:
    with Reader(f"s3://bucket/{NAME}") as reader:
        other = write(tmp_path / "other.beton", seed=5)
        client.put_object(Bucket="bucket", Key=NAME, Body=other)
        with pytest.raises(ChangedFileError):
            reader.file.read_at(400_000, 100_000)


def test_no_credentials(client, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(BetonError, match=r"Missing AccessKeyId; .*AWS_ACCESS_KEY_ID") as caught:
        Reader(f"s3://bucket/{NAME}")
    assert "SECRET" not in str(caught.value)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(BetonError, match="no credentials .*AWS_ACCESS_KEY_ID"):
        Reader(f"s3://bucket/{NAME}")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert Reader(f"s3://bucket/{NAME}").num_samples == 60
