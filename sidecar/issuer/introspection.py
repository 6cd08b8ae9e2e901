"""Asks one issuer about tokens (RFC 7662): with a cache, one question per token, and limits.

Theory of operation. A valid cached answer is used without I/O. Otherwise the first request with a token starts one
question, and all others with the same token wait for it; it continues if the first request is cancelled. A question
takes one of `concurrency` places (waiting for one counts towards its deadline), passes the circuit breaker, and
returns an answer or `IssuerUnavailable`. Anything other than a valid answer is no evidence about the token: it
neither refuses nor permits it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sidecar.decision import profile
from sidecar.decision.denial import Denied, Reason
from sidecar.decision.ports import IssuerUnavailable
from sidecar.decision.strict import Malformed
from sidecar.decision.token import AccessToken, TokenDigest, ValidatedToken
from sidecar.issuer.circuit_breaker import Blame, CircuitBreaker, CircuitOpen
from sidecar.issuer.client_authentication import ClientAuthenticator
from sidecar.issuer.clock import Clock
from sidecar.issuer.configuration import IntrospectionSettings, SelfSignedTlsClientAuth, TlsClientAuth
from sidecar.issuer.http import Fetched, FetchFailed, HttpClient
from sidecar.issuer.introspection_cache import Answer, IntrospectionCache
from sidecar.issuer.metadata import Metadata, MetadataSource, parse_object
from sidecar.issuer.shares import NoPlaceToWait, Places
from sidecar.issuer.signed_response import MEDIA_TYPE, SignedResponseVerifier
from sidecar.telemetry.issuer_observer import Introspected, IssuerObserver


@dataclass(frozen=True, slots=True, eq=False)
class IntrospectionParts:
    """The parts of one issuer's introspection."""

    http: HttpClient
    authenticator: ClientAuthenticator
    metadata: MetadataSource | None
    """None: the settings name the endpoint."""
    verifier: SignedResponseVerifier | None
    """None: responses are plain JSON."""
    observer: IssuerObserver
    clock: Clock


class IssuerIntrospection:
    """The introspection endpoint of one issuer, with its cache and limits."""

    def __init__(
        self, issuer: str, settings: IntrospectionSettings, parts: IntrospectionParts, generation: int
    ) -> None:
        self._issuer = issuer
        self._settings = settings
        self._parts = parts
        self._generation = generation
        self._cache = IntrospectionCache(settings.cache_bytes, parts.clock)
        self._breaker = CircuitBreaker(settings.breaker, parts.clock)
        self._places = Places(settings.concurrency, settings.waiting)
        self._flights: dict[TokenDigest, asyncio.Task[Answer | IssuerUnavailable]] = {}
        self._tasks: set[asyncio.Task[Answer | IssuerUnavailable]] = set()
        self._endpoint = settings.endpoint or ""
        self._scope = self._scope_key()

    def adopt(self, generation: int) -> None:
        """Another configuration is in force: answers cached under the old one are not used."""
        self._generation = generation
        self._scope = self._scope_key()
        self._cache.clear()
        self._flights = {}

    async def idle(self) -> None:
        """Wait until no question is in progress: at most their deadline."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Cancel all questions: waiting requests get `IssuerUnavailable`."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._parts.http.close()

    # --- what requests see

    @property
    def remembered(self) -> int:
        """Number of cached answers."""
        return len(self._cache)

    def cached(self, token: AccessToken) -> ValidatedToken | bool | None:
        """The cached answer, or None. Raises `Denied` as `introspect` does. No I/O."""
        answer = self._cache.find(_key(token, self._scope))
        return None if answer is None else _told(answer)

    async def introspect(self, token: AccessToken, source: str = "") -> ValidatedToken | bool:
        """The issuer's answer to a token that `source` presented; False means inactive.

        Raises `IssuerUnavailable`, and `Denied` for a response that describes a token which cannot be checked.
        """
        answer = self._cache.find(_key(token, self._scope))
        if answer is not None:
            return _told(answer)
        flight = self._flights.get(token.digest)
        if flight is None:
            flight = self._begin(token, source)
        # Not awaited directly: a cancelled request must not cancel the question for the others.
        await asyncio.wait({flight})
        outcome = self._unavailable("not_configured") if flight.cancelled() else flight.result()
        if isinstance(outcome, IssuerUnavailable):
            raise IssuerUnavailable(outcome.issuer, outcome.phase, outcome.retry_after)
        return _told(outcome)

    def _begin(self, token: AccessToken, source: str) -> asyncio.Task[Answer | IssuerUnavailable]:
        flights = self._flights
        flight = asyncio.create_task(self._ask(token, source), name=f"introspection at {self._issuer}")
        flights[token.digest] = flight
        self._tasks.add(flight)

        def ended(task: asyncio.Task[Answer | IssuerUnavailable]) -> None:
            flights.pop(token.digest, None)
            self._tasks.discard(task)

        flight.add_done_callback(ended)
        return flight

    def _scope_key(self) -> bytes:
        parts = (self._issuer, self._endpoint, str(self._generation))
        return blake2b("\0".join(parts).encode(), digest_size=32).digest()

    # --- one question

    async def _ask(self, token: AccessToken, source: str) -> Answer | IssuerUnavailable:
        """Never raises: an exception would be lost if no request waits any more."""
        started = self._parts.clock.monotonic()
        answer: Answer | IssuerUnavailable
        detail = ""
        try:
            async with asyncio.timeout(self._settings.deadline):
                answer = await self._in_turn(token, source)
            result = _name(answer)
        except CircuitOpen as circuit:
            answer, result = self._unavailable("circuit_open", circuit.retry_after), "circuit_open"
        except FetchFailed as failed:
            answer, result, detail = (
                self._unavailable(failed.phase, failed.retry_after),
                failed.phase,
                failed.detail,
            )
        except TimeoutError:
            answer, result, detail = self._unavailable("timeout"), "timeout", "no answer within the deadline"
        seconds = self._parts.clock.monotonic() - started
        self._parts.observer.introspected(Introspected(self._issuer, result, detail, seconds))
        return answer

    async def _in_turn(self, token: AccessToken, source: str) -> Answer:
        self._breaker.check(source, token.digest)
        try:
            async with self._places.place(source):
                return await self._admitted(token, source)
        except NoPlaceToWait:
            raise FetchFailed("overload", "too many questions wait already", retry_after=1) from None

    async def _admitted(self, token: AccessToken, source: str) -> Answer:
        was_closed = self._breaker.is_closed
        admission = self._breaker.admit(source, token.digest)
        try:
            answer = await self._question(token)
        except FetchFailed as failed:
            # Some issuers answer 400 to a token that they do not recognise. That is no answer, but it shows that the
            # endpoint works.
            if failed.status == 400:
                self._breaker.succeed()
            else:
                self._breaker.fail(admission, _blame(failed))
            raise
        except asyncio.CancelledError:
            self._breaker.fail(admission, Blame.UNCLEAR)  # the deadline, or the end of the process
            raise
        else:
            self._breaker.succeed()
            return answer
        finally:
            self._report_circuit(was_closed=was_closed)

    def _report_circuit(self, *, was_closed: bool) -> None:
        if was_closed != self._breaker.is_closed:
            name = "circuit_closed" if self._breaker.is_closed else "circuit_opened"
            self._parts.observer.issuer_incident(self._issuer, name, "introspection endpoint")

    async def _question(self, token: AccessToken) -> Answer:
        """RFC 7662 §2.1."""
        try:
            endpoint = await self._locate()
            scope = self._scope
            credentials = await self._parts.authenticator.credentials()
        except FetchFailed as failed:
            failed.was_sent = False
            raise
        form = {"token": token.reveal(), **credentials.form}
        if self._settings.token_type_hint is not None:
            form["token_type_hint"] = self._settings.token_type_hint
        accept = "application/json" if self._parts.verifier is None else MEDIA_TYPE
        headers = {"Accept": accept, **credentials.headers}
        document = await self._parts.http.post(endpoint, form, headers, self._settings.response_bytes)
        answer = self._judged(await self._response(document), token)
        is_active = isinstance(answer, ValidatedToken)
        lifetime = self._settings.active_lifetime if is_active else self._settings.inactive_lifetime
        self._cache.keep(_key(token, scope), answer, lifetime)
        return answer

    def _judged(self, response: Mapping[str, Any], token: AccessToken) -> Answer:
        try:
            return profile.introspected(
                response,
                self._issuer,
                token.digest,
                self._settings.confirmable,
                names=self._settings.claim_names,
            )
        except Denied as denied:
            return False if denied.reason is Reason.TOKEN_INACTIVE else denied
        except Malformed as problem:
            raise FetchFailed("parse", str(problem)) from None

    async def _response(self, document: Fetched) -> Mapping[str, Any]:
        if self._parts.verifier is not None:
            if document.media_type != MEDIA_TYPE:
                raise FetchFailed("parse", "the response is not signed")
            return await self._parts.verifier.verify(document.body)
        # RFC 7662 §2.2: "The server responds with a JSON object in "application/json" format"
        if document.media_type != "application/json":
            raise FetchFailed("parse", "the response is not application/json")
        return parse_object(document.body)

    async def _locate(self) -> str:
        """The URL of the endpoint: configured, or from the issuer's metadata."""
        if self._parts.metadata is None:
            return self._endpoint
        endpoint = self._preferred(await self._parts.metadata.fetch())
        if endpoint is None:
            self._parts.metadata.expire()
            raise FetchFailed("parse", "the metadata names no introspection_endpoint")
        if endpoint != self._endpoint:
            self._endpoint = endpoint
            self._scope = self._scope_key()
        return endpoint

    def _preferred(self, metadata: Metadata) -> str | None:
        # RFC 8705 §5: clients that do mutual TLS "MUST use the alias URL of the endpoint within the
        # mtls_endpoint_aliases, when present".
        if isinstance(self._settings.client_authentication, TlsClientAuth | SelfSignedTlsClientAuth):
            return metadata.mtls_introspection_endpoint or metadata.introspection_endpoint
        return metadata.introspection_endpoint

    def _unavailable(self, phase: str, retry_after: int | None = None) -> IssuerUnavailable:
        return IssuerUnavailable(self._issuer, phase, retry_after or 1)


def _key(token: AccessToken, scope: bytes) -> bytes:
    """Keyed digest + issuer + endpoint + generation: an answer is valid for the same question only."""
    return blake2b(token.digest, digest_size=16, key=scope).digest()


def _told(answer: Answer) -> ValidatedToken | bool:
    if isinstance(answer, Denied):
        raise Denied.of(answer.failure)
    return answer


def _name(answer: Answer) -> str:
    if isinstance(answer, ValidatedToken):
        return "active"
    return "refused" if isinstance(answer, Denied) else "inactive"


def _blame(failed: FetchFailed) -> Blame:
    """What a failed question shows about the endpoint."""
    # RFC 7662 §2.3: 401 means that our credentials are not valid. In TLS 1.3 a server checks our certificate after
    # our side of the handshake is complete.
    if not failed.was_sent or failed.phase == "tls" or failed.status == 401:
        return Blame.ENDPOINT
    if failed.phase in {"timeout", "connect"} or failed.status >= 500 or failed.status == 429:
        return Blame.UNCLEAR
    return Blame.TOKEN
