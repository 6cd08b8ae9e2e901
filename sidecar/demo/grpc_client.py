"""The demo's gRPC client: one unary call on a new connection."""

import asyncio
from urllib.parse import unquote

from sidecar.demo.client import SECONDS, Reply
from sidecar.http.grpc import call_head, said_status, text_message
from sidecar.proxy.configuration import HTTP2, UpstreamSettings, UpstreamTlsSettings
from sidecar.proxy.upstream.http2_visit import VisitFailed, visit
from sidecar.trust.certification import Identity


async def call(
    port: int, authority: Identity, identity: Identity, method: str, token: str
) -> tuple[str, Reply]:
    """The reason of a refusal, empty if there is none, and the answer, whose status is `grpc-status`; -1 if there is
    none.

    `method` is `/service/method`. Raises `OSError` (including `TimeoutError`) and `EOFError` if no answer arrives.
    """
    trust = UpstreamTlsSettings(
        authority.certificate_file, "localhost", identity.certificate_file, identity.key_file, True
    )
    head = call_head(b"https", method.encode("ascii"), b"localhost:%d" % port)
    head.append((b"authorization", b"Bearer " + token.encode("ascii")))
    try:
        async with asyncio.timeout(SECONDS):
            connection = await visit(UpstreamSettings("https", "127.0.0.1", port, tls=trust, protocol=HTTP2))
            try:
                connection.ask(head, text_message(b"42"))
                came = await connection.answered
            finally:
                connection.leave()
    except VisitFailed as failure:
        raise EOFError(str(failure)) from failure
    status = said_status(list(came.fields.items()))
    said = unquote(came.fields.get(b"grpc-message", b"").decode("ascii"))
    return said.partition(":")[0], Reply(status, "", came.content, len(came.content))
