"""An S3 server on this machine: moto's, in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


@contextmanager
def s3_bucket(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[Any]:
    """The client of a server that has a bucket of this name; also programs that are started find it."""
    servers, s3fs = pytest.importorskip("moto.server"), pytest.importorskip("s3fs")
    server = servers.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for variable, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_EC2_METADATA_DISABLED": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    s3fs.S3FileSystem.clear_instance_cache()
    client = s3fs.S3FileSystem()
    if not client.exists(name):  # servers of one process share their memory
        client.mkdir(name)
    try:
        yield client
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()
