"""What the upstream's probe says, and when it can say nothing."""

import asyncio
import os
import resource
import socket

from sidecar.process.endpoints.health import Check
from sidecar.process.watches.probes import UpstreamProbe
from sidecar.proxy.configuration import UpstreamSettings


def probed(port: int) -> Check:
    return asyncio.run(UpstreamProbe().check(UpstreamSettings(scheme="http", host="127.0.0.1", port=port)))


def test_upstream_is_there_or_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as api:
        port = api.getsockname()[1]
        assert probed(port) == Check(f"upstream 127.0.0.1:{port}", ok=True)
    assert not probed(port).ok


def test_file_descriptors_that_run_out_say_nothing_of_the_upstream() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []

    async def main() -> Check:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        try:
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            return await UpstreamProbe().check(UpstreamSettings(scheme="http", host="127.0.0.1", port=9))

    try:
        found = asyncio.run(main())
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (found.ok, found.detail) == (True, "cannot be looked at: too many open files")
