"""The same Flask app under the standard library's WSGI server, which maps headers as CGI does (RFC 3875 §4.1.18):
upper case, `-` to `_`, fields of one name joined by a comma.

usage: python -m tests.real.cgi_server PORT
"""

import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from tests.real.flask_app import app


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 — the base class's name for it
        pass


if __name__ == "__main__":
    make_server("127.0.0.1", int(sys.argv[1]), app, handler_class=Quiet).serve_forever()
