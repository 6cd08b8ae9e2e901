"""The trailers of an HTTP/2 message, and the size of fields (RFC 9113 §8.1). Pure."""

from collections.abc import Iterable

from sidecar.decision.denial import Reason
from sidecar.http.http2_field import MISPLACED, PLAIN, TRAILER, MalformedField, kind_of
from sidecar.http.message import Fault, Field, Request


def size_of(fields: Iterable[Field]) -> int:
    """Bytes of field lines, with their colons and line ends."""
    size = 0
    for name, value in fields:
        size += len(name) + len(value) + 4
    return size


def read_trailers(request: Request, fields: tuple[Field, ...], trailer_bytes: int) -> None:
    """Set the trailer fields of `request`, which complete it. An error is in its `fault` afterwards."""
    request.complete = True
    try:
        _check_trailers(fields)
    except MalformedField as malformed:
        request.fault = Fault(Reason.REQUEST_MALFORMED, str(malformed))
        return
    request.trailers = list(fields)
    request.trailer_bytes = size_of(fields)
    if request.trailer_bytes > trailer_bytes:
        request.fault = Fault(Reason.HEADER_TOO_LARGE, f"trailers over {trailer_bytes} bytes")


def _check_trailers(fields: tuple[Field, ...]) -> None:
    pseudo: list[bytes] = []
    framing: list[bytes] = []
    regular = 0
    for name, value in fields:
        kind = kind_of(name, value)
        if kind >= PLAIN:
            regular += 1
            if kind >= TRAILER:
                framing.append(name)
        elif regular or name in pseudo:
            raise MalformedField(MISPLACED)
        else:
            pseudo.append(name)
    if pseudo:
        raise MalformedField("pseudo-header fields in trailers")
    if framing:
        raise MalformedField(f"{framing[0].decode('ascii')} in trailers")
