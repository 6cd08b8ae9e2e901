"""`sidecar webhook`: the admission webhooks, an HTTPS server for the cluster's API server.

Theory of operation: its routes answer AdmissionReviews with the pure injector; it keeps no state and asks the API
server nothing, so it needs no permissions there. The certificate is read again when its file changes:
new connections get the new one, running ones are left alone.
"""

import argparse
import asyncio
import json
import logging
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web

from sidecar.command.admission_intake import (
    HANDSHAKE_SECONDS,
    MAXIMUM_BODY,
    Bodies,
    Callers,
    Overloaded,
    admitted,
)
from sidecar.command.injector_settings import injection_settings
from sidecar.injection.admission import BadReview, guard, review
from sidecar.injection.manifest import Mode
from sidecar.injection.settings import InjectionSettings

SHUTDOWN_SECONDS = 10.0
CERTIFICATE_POLL_SECONDS = 2.0

log = logging.getLogger("sidecar.webhook")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of `sidecar webhook`."""
    parser.add_argument("--settings", required=True, metavar="FILE", help="what to inject")
    parser.add_argument("--certificate", required=True, metavar="FILE", help="server certificate, PEM")
    parser.add_argument("--private-key", required=True, metavar="FILE", help="its key, PEM")
    parser.add_argument(
        "--client-ca",
        type=Path,
        metavar="FILE",
        help="accept only clients with a certificate of this authority, PEM",
    )
    parser.add_argument(
        "--client-name",
        action="append",
        default=[],
        metavar="NAME",
        help="the name that this certificate must have; may be repeated",
    )
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")  # noqa: S104  # a Pod's
    parser.add_argument("--port", type=int, default=9443, help="port to listen on; 0 chooses one")


def execute(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; 0, or 1 when the certificate is not usable. Raises `SettingsError`."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    settings = injection_settings(arguments.settings, {})
    try:
        certificate = ServedCertificate(Path(arguments.certificate), Path(arguments.private_key))
        callers = Callers(arguments.client_ca, arguments.client_name)
        callers.ask_for_certificates(certificate.context)
    except OSError as error:
        print(f"the certificate cannot be used: {error}", file=sys.stderr)
        return 1
    asyncio.run(_serve_until_told(settings, certificate, callers, arguments.host, arguments.port))
    return 0


class ServedCertificate:
    """A TLS context whose certificate follows its files."""

    def __init__(self, certificate: Path, private_key: Path) -> None:
        """Raises `OSError` (of which `ssl.SSLError` is one) if the pair cannot be used."""
        self._certificate = certificate
        self._private_key = private_key
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._seen = self._state()
        self.context.load_cert_chain(certificate, private_key)

    def follow(self) -> bool:
        """Load the pair again if a file changed; true if a new one is served. A broken pair changes nothing."""
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        try:
            # Into a context of its own first: half a pair must not spoil the one that serves.
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                self._certificate, self._private_key
            )
            self.context.load_cert_chain(self._certificate, self._private_key)
        except OSError as error:
            log.warning("the new certificate is not usable, the old one stays: %s", error)
            return False
        log.info("serving the new certificate")
        return True

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_identity(path) for path in (self._certificate, self._private_key))


def application(settings: InjectionSettings, callers: Callers) -> web.Application:
    """The routes: POST for the API server, GET for the kubelet.

    /mutate puts the sidecar into Pods that ask for it, /mutate/enforced into every Pod of an enforcing namespace, and
    /validate keeps what was injected as it is.
    """
    served = web.Application()
    answers = partial(_answers, Bodies(), callers)
    served.router.add_post("/mutate", answers(lambda body: review(body, settings)))
    served.router.add_post("/mutate/enforced", answers(lambda body: review(body, settings, Mode.ENFORCED)))
    served.router.add_post("/validate", answers(guard))
    served.router.add_get("/livez", _alive)
    served.router.add_get("/readyz", _alive)
    return served


@asynccontextmanager
async def served(
    settings: InjectionSettings, certificate: ServedCertificate, callers: Callers, host: str, port: int
) -> AsyncIterator[int]:
    """Serve while the block runs; yields the port. Raises `OSError` if it cannot be had."""
    runner = web.AppRunner(application(settings, callers), access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    server = runner.server
    assert server is not None  # noqa: S101 — set up just now
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(
        partial(admitted, server),
        host,
        port,
        ssl=certificate.context,
        ssl_handshake_timeout=HANDSHAKE_SECONDS,
    )
    try:
        yield int(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await runner.cleanup()


def _answers(
    bodies: Bodies,
    callers: Callers,
    judged: Callable[[bytes], dict[str, Any]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The handler that answers AdmissionReviews as `judged` does."""

    async def handle(request: web.Request) -> web.Response:
        refusal = callers.refusal(request)
        return _problem(403, refusal) if refusal is not None else await _answer(request, bodies, judged)

    return handle


async def _answer(
    request: web.Request, bodies: Bodies, judged: Callable[[bytes], dict[str, Any]]
) -> web.Response:
    try:
        answer = judged(await bodies.received(request))
    except BadReview as error:
        return _problem(400, str(error))
    except web.HTTPRequestEntityTooLarge:
        return _problem(413, f"the body is larger than {MAXIMUM_BODY} bytes")
    except TimeoutError:
        return _problem(408, "the body did not arrive in time")
    except ConnectionError:
        return _problem(400, "the connection ended in the body")
    except Overloaded:
        return _problem(503, "the body was too slow, and there are too many newer requests")
    response = answer["response"]
    if not response["allowed"]:
        log.info("refused %s: %s", json.dumps(response["uid"]), response["status"]["message"])
    return web.json_response(answer)


async def _alive(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _problem(status: int, detail: str) -> web.Response:
    body = {"type": "about:blank", "title": "not an admission review", "status": status, "detail": detail}
    return web.json_response(body, status=status, content_type="application/problem+json")


async def _serve_until_told(
    settings: InjectionSettings, certificate: ServedCertificate, callers: Callers, host: str, port: int
) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with served(settings, certificate, callers, host, port) as actual:
        log.info("webhook listens on %s:%d", host, actual)
        while not told.is_set():
            try:
                async with asyncio.timeout(CERTIFICATE_POLL_SECONDS):
                    await told.wait()
            except TimeoutError:
                certificate.follow()


def _identity(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced: Kubernetes swaps a symlink, so the inode does."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size)
