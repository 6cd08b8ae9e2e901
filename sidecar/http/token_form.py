"""The form of a request to an authorization server's endpoint (RFC 6749 §3.2): the only maker of `TokenRequest`.

The server parses the same bytes with its own parser, and parsers differ: some ignore case, some treat `;` as a
separator, some read query parameters as body parameters, some use the first of two and some the last. A form is
therefore accepted only if it has the same meaning for all of them. It is not repaired: the received bytes are
forwarded.
"""

import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NoReturn

from sidecar.decision.failure import Denied
from sidecar.decision.reason import Reason
from sidecar.decision.registered_client.token_request import ClaimedMethod, TokenRequest
from sidecar.decision.request import RequestHead
from sidecar.decision.strict import Malformed, base64url, json_object
from sidecar.http.claimed_identity import METHOD_OVERRIDES
from sidecar.http.message import Field

MOST_BYTES: Final = 64 * 1024
"""Maximum bytes of a form."""
MOST_PARAMETERS: Final = 256
REPEATABLE: Final = frozenset({"resource", "audience"})
"""The parameters that may occur several times (RFC 8707 §2, RFC 8693 §2.1)."""

_USUAL_TYPE: Final = b"application/x-www-form-urlencoded"
_AS_LONG: Final = len(b"content-type")
_AS_LONG_AS_CODING: Final = len(b"content-encoding")
_PLAIN_CODINGS: Final = frozenset({b"", b"identity"})
_OVERRIDES: Final = frozenset([name.encode("ascii") for name in METHOD_OVERRIDES])
_AS_LONG_AS_OVERRIDES: Final = frozenset(map(len, _OVERRIDES))
_MEDIA_TYPE: Final = re.compile(
    rb"application/x-www-form-urlencoded[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*(?:utf-8|\"utf-8\")[ \t]*)?;?[ \t]*",
    re.IGNORECASE,
)
_PLAIN: Final = bytes(byte if 0x21 <= byte <= 0x7E and byte != 0x3B else 0x21 for byte in range(256))
"""Printable ASCII without the semicolon, which some parsers treat as a separator, → itself, any other → another."""
_BROKEN_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_DIGITS: Final = "0123456789abcdefABCDEF"
_OCTETS: Final = {(high + low).encode(): bytes((int(high + low, 16),)) for high in _DIGITS for low in _DIGITS}
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
"""param-name (RFC 6749 §8.2)."""
_CREDENTIALS: Final = ("client_id", "client_secret", "client_assertion", "client_assertion_type")
_JWT_BEARER: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_OPEN: Final = frozenset({"audience", "client_id", "grant_type", "resource", "scope", "token_type_hint"})
"""Parameters without secrets: a client sends the same ones repeatedly."""
_KNOWN: Final = 1024
"""Maximum number of cached parameters."""
_LONGEST_KNOWN: Final = 256
"""Maximum bytes of a cached parameter, as received."""
_LONGEST_NAME: Final = 128
"""Maximum bytes of a cached name: the sender is not authenticated yet."""
_SHOWN: Final = 64
"""Maximum characters of a name in a record."""
_IN_BODY: Final = "in the body alone"


def read_form(head: RequestHead, fields: Iterable[Field], body: bytes) -> TokenRequest:
    """Parse the claims of a request. `fields` are its header fields as received, `body` is its whole content.

    Raises `Denied`: body_too_large, form_malformed, parameter_repeated, client_id_missing, client_id_mismatch,
    client_authentication_repeated, target_too_long.
    """
    _check_outside(head, fields)
    if len(body) > MOST_BYTES:
        raise Denied(Reason.BODY_TOO_LARGE, "form", f"at most {MOST_BYTES} bytes", f"{len(body)} bytes")
    parameters = _parameters(body)
    _check_query(head, parameters)
    known = parameters
    for values in parameters.values():
        if not values:
            known = {name: one for name, one in parameters.items() if one}
            break
    method = _method(head, known)
    return TokenRequest(_client_id(head, method, known), method, known, body)


def _malformed(check: str, expected: str, presented: str) -> Denied:
    return Denied(Reason.FORM_MALFORMED, check, expected, presented)


def _check_outside(head: RequestHead, fields: Iterable[Field]) -> None:
    if head.method != "POST":  # RFC 6749 §3.2: "The client MUST use the HTTP "POST" method"
        raise _malformed("method", "POST", "another method")
    if ";" in head.path:
        raise _malformed("path", "no path parameters", "a semicolon")
    types: list[bytes] = []
    for name, value in fields:
        size = len(name)
        if size == _AS_LONG and name.lower() == b"content-type":
            types.append(value)
        elif (
            size == _AS_LONG_AS_CODING
            and name.lower() == b"content-encoding"
            and value.lower() not in _PLAIN_CODINGS
        ):
            # A deflate stream can consist of letters and digits: a server that inflates it would read another form.
            raise _malformed("Content-Encoding", "none", "a coding")
        elif size in _AS_LONG_AS_OVERRIDES and name.lower() in _OVERRIDES:
            raise _malformed("method", "POST", "a method override")
    if len(types) != 1:
        raise _malformed("Content-Type", "one Content-Type", f"{len(types)} of them")
    if types[0] != _USUAL_TYPE and _MEDIA_TYPE.fullmatch(types[0]) is None:
        raise _malformed("Content-Type", "application/x-www-form-urlencoded, in UTF-8", "another type")


def _check_query(head: RequestHead, parameters: Mapping[str, tuple[str, ...]]) -> None:
    """RFC 6749 §2.3.1: credentials "MUST NOT be included in the request URI"; nor may a name be in both query and
    body.
    """
    if not head.query:
        return
    names = {_folded(name) for name in head.query_names}
    for name in _CREDENTIALS:
        if name in names:
            raise Denied(Reason.CLIENT_ID_MISMATCH, name, _IN_BODY, "in the query")
    for name in parameters:
        if _folded(name) in names:
            raise Denied(Reason.PARAMETER_REPEATED, "query", _IN_BODY, name[:_SHOWN])


def _folded(name: str) -> str:
    """A name as the most tolerant parser reads it: ignoring case, and with PHP's replacement of dots and spaces."""
    return name.strip().lower().replace(".", "_").replace(" ", "_")


def _parameters(body: bytes) -> dict[str, tuple[str, ...]]:
    """Name → its non-empty values. Raises `Denied`."""
    if not body:
        return {}
    if body.translate(_PLAIN) != body:
        raise _malformed("form", "printable ASCII, other characters escaped", "another character, or `;`")
    for piece in body.split(b"%")[1:]:
        if piece[:2] not in _OCTETS:
            raise _malformed("form", "two hexadecimal digits after `%`", "something else")
    pairs = body.split(b"&")
    if len(pairs) > MOST_PARAMETERS:
        raise _malformed("form", f"at most {MOST_PARAMETERS} parameters", "more")
    found: dict[str, tuple[str, ...]] = {}
    spelled: dict[str, str] = {}
    for pair in pairs:
        known = _read.get(pair)
        plain, folded, values = _parameter(pair) if known is None else known
        other = spelled.get(folded)
        if other is not None and (plain not in REPEATABLE or other != plain):
            raise Denied(Reason.PARAMETER_REPEATED, "form", "each parameter once", folded[:_SHOWN])
        spelled[folded], found[plain] = plain, values if other is None else found[plain] + values
    return found


_Parameter = tuple[str, str, tuple[str, ...]]
_read: Final[dict[bytes, _Parameter]] = {}
"""Cache of parsed parameters without secrets: the same bytes always have the same meaning."""


def _parameter(pair: bytes) -> _Parameter:
    """A parameter's name, its name as the most tolerant parser reads it, and its value unless it is empty. Raises
    `Denied`.
    """
    name, _, value = pair.partition(b"=")
    plain, folded = _named(name)
    text = _text(value)
    read: _Parameter = (plain, folded, (text,) if text else ())
    if plain in _OPEN and len(pair) <= _LONGEST_KNOWN:
        if len(_read) >= _KNOWN:
            _read.clear()
        _read[pair] = read
    return read


def _named(encoded: bytes) -> tuple[str, str]:
    """A parameter's name, and the same as the most tolerant parser reads it; cached. Raises `Denied`."""
    return _known_name(encoded) if len(encoded) <= _LONGEST_NAME else _name(encoded)


@lru_cache(maxsize=256)
def _known_name(encoded: bytes) -> tuple[str, str]:
    return _name(encoded)


def _name(encoded: bytes) -> tuple[str, str]:
    name = _text(encoded)
    if _NAME.fullmatch(name) is None:
        raise _malformed("form", "names of letters, digits, `.`, `_` and `-`", "another name")
    folded = _folded(name)
    if folded in _CREDENTIALS and name != folded:
        raise _malformed(folded, "its name in lower case", "another spelling")
    return name, folded


def _text(encoded: bytes) -> str:
    """Decode as HTML forms do (the URL standard §5.1), but strictly. Raises `Denied`."""
    if b"+" in encoded:
        encoded = encoded.replace(b"+", b" ")
    if b"%" in encoded:
        encoded = _unescaped(encoded)
    try:
        text = encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("form", "UTF-8", "something else") from None
    if "\0" in text:
        raise _malformed("form", "no NUL", "NUL")
    return text


def _unescaped(encoded: bytes) -> bytes:
    """Decode percent escapes. Each `%` is followed by two hexadecimal digits: the caller has checked that."""
    pieces = encoded.split(b"%")
    for at in range(1, len(pieces)):
        piece = pieces[at]
        pieces[at] = _OCTETS[piece[:2]] + piece[2:]
    return b"".join(pieces)


def _method(head: RequestHead, parameters: Mapping[str, tuple[str, ...]]) -> ClaimedMethod:
    """RFC 6749 §2.3: "The client MUST NOT use more than one authentication method in each request."."""
    has_secret, has_assertion = "client_secret" in parameters, "client_assertion" in parameters
    if not (head.authorization or has_secret or has_assertion):
        return ClaimedMethod.NONE
    found = [ClaimedMethod.AUTHORIZATION] * len(head.authorization)
    found += [ClaimedMethod.SECRET] * has_secret
    found += [ClaimedMethod.ASSERTION] * has_assertion
    if len(found) > 1:
        shown = ", ".join(one.value for one in found)
        raise Denied(Reason.CLIENT_AUTHENTICATION_REPEATED, "client_authentication", "one method", shown)
    return found[0]


def _client_id(head: RequestHead, method: ClaimedMethod, parameters: Mapping[str, tuple[str, ...]]) -> str:
    """From the body, `Authorization: Basic` or the assertion. Raises `Denied` if they differ."""
    named: dict[str, str] = {}
    if "client_id" in parameters:
        named["the body"] = parameters["client_id"][0]
        if method is ClaimedMethod.NONE:
            return _readable(named["the body"])
    if method is ClaimedMethod.AUTHORIZATION:
        user = _basic_user(head.authorization[0])
        if user is not None:
            named["Authorization"] = user
    if method is ClaimedMethod.ASSERTION:
        subject = _subject(parameters)
        if subject is not None:
            named["the assertion"] = subject
    if not named:
        raise Denied(Reason.CLIENT_ID_MISSING, "client_id", "client_id", "none")
    first, *others = named.values()
    if any(one != first for one in others):
        raise Denied(Reason.CLIENT_ID_MISMATCH, "client_id", "one client_id", f"others in {', '.join(named)}")
    return _readable(first)


def _readable(client_id: str) -> str:
    """client-id = *VSCHAR (RFC 6749 §A.1); raises `Denied`."""
    if not client_id or not client_id.isascii() or not client_id.isprintable():
        raise _malformed("client_id", "printable ASCII", "another character")
    return client_id


def _basic_user(value: str) -> str | None:
    """The client of `Basic` credentials, whose parts are form-encoded (RFC 6749 §2.3.1); None for another scheme."""
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = b64decode(rest.strip(" ").encode("ascii"), validate=True)
    except (NotBase64, UnicodeEncodeError):
        _not_basic()
    user, colon, _secret = pair.partition(b":")
    if not colon or not user or _BROKEN_ESCAPE.search(user) is not None:
        _not_basic()
    return _text(user)


def _not_basic() -> NoReturn:
    raise _malformed("Authorization", "Basic credentials, form-encoded", "something else") from None


def _subject(parameters: Mapping[str, tuple[str, ...]]) -> str | None:
    """The client that an assertion names (RFC 7523 §3: `iss` and `sub` are the client_id); not verified. None for an
    assertion of another type. Raises `Denied`.
    """
    if parameters.get("client_assertion_type") != (_JWT_BEARER,):
        return None
    try:
        parts = parameters["client_assertion"][0].split(".")
        if len(parts) != 3:
            raise Malformed("no JWS")
        claims = json_object(base64url(parts[1]), 256)
    except Malformed as problem:
        raise _malformed("client_assertion", "a JWT", str(problem)) from None
    subject, issuer = claims.get("sub"), claims.get("iss")
    if not isinstance(subject, str) or not subject:
        raise _malformed("client_assertion", "`sub`", "none")
    if issuer != subject:
        raise Denied(Reason.CLIENT_ID_MISMATCH, "client_assertion", "`iss` equal to `sub`", "another")
    return subject
