"""An ordinary API that knows nothing of OAuth: Flask, for any WSGI server.

What it does is chosen by the query, so that any path may be asked for anything: `?status=418`, `?stream=BYTES`,
`?events=N&every=SECONDS`; without any of these it echoes what it saw. `GET /count` says how many other requests came.
"""

import hashlib
import threading
import time
from collections.abc import Iterator

from flask import Flask, Response, jsonify, request

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
PIECE = bytes(range(256)) * 256
"""64 KiB that are not all alike."""

app = Flask(__name__)


class Tally:
    """How many requests came; several threads count."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0

    def add(self) -> None:
        with self.lock:
            self.count += 1


seen = Tally()


@app.get("/count")
def count() -> Response:
    return jsonify(count=seen.count)


@app.route("/", defaults={"path": ""}, methods=METHODS, provide_automatic_options=False)
@app.route("/<path:path>", methods=METHODS, provide_automatic_options=False)
def anything(path: str) -> Response:
    seen.add()
    if "stream" in request.args:
        return stream(int(request.args["stream"]))
    if "events" in request.args:
        return events(int(request.args["events"]), float(request.args.get("every", "0")))
    return echo(int(request.args.get("status", "200")))


def echo(status: int) -> Response:
    """The request as WSGI shows it; the body by length and SHA-256, and as text when it is short."""
    digest, size, first = hashlib.sha256(), 0, b""
    while piece := request.stream.read(65536):
        digest.update(piece)
        size += len(piece)
        first = first or piece
    answer = jsonify(
        method=request.method,
        path=request.environ.get("RAW_URI", request.full_path),
        environ={name: value for name, value in request.environ.items() if isinstance(value, str)},
        body={"size": size, "sha256": digest.hexdigest(), "text": first[:1000].decode("latin-1")},
    )
    answer.status_code = status
    return answer


def stream(size: int) -> Response:
    """That many bytes with their length announced."""

    def pieces() -> Iterator[bytes]:
        for left in range(size, 0, -len(PIECE)):
            yield PIECE[:left]

    return Response(pieces(), mimetype="application/octet-stream", headers={"Content-Length": str(size)})


def events(number: int, every: float) -> Response:
    """Server-Sent Events; the data is the time of sending, in seconds."""

    def pieces() -> Iterator[bytes]:
        for _ in range(number):
            yield f"data: {time.time()}\n\n".encode()
            time.sleep(every)

    return Response(pieces(), mimetype="text/event-stream")
