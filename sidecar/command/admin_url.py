"""`sidecar admin-url`: the link that opens the admin page of the sidecar that runs with this configuration.

For `kubectl exec`: the token in the link is made at each start, and readable to the sidecar's own account alone.
"""

import argparse
import sys

from sidecar.command.service_file import add_config
from sidecar.process.endpoints.admin.token import TokenUnreadable, read_token, token_file
from sidecar.settings.configuration import AdminAddress


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    add_config(parser)
    parser.add_argument("--port", type=int, help="the local port, if the port-forward uses another one")
    parser.add_argument(
        "--token", action="store_true", help="print only the token, for `Authorization: Bearer`"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Print the link. Raises `SettingsError` when the service file cannot be read."""
    from sidecar.settings.admin import admin_address  # noqa: PLC0415 — brings the YAML reader

    admin = admin_address(arguments.config)
    if admin is None:
        return _failed(f"{arguments.config} has no `admin` section: there is no page")
    if admin.path:
        return _failed(f"the page is on {admin.path}, which checks the account and needs no token")
    try:
        token = read_token(token_file(admin))
    except TokenUnreadable as error:
        return _failed(str(error))
    if arguments.token:
        print(token)
        return 0
    port = arguments.port or admin.port
    if not port:
        return _failed("the system chose the port: take it from the log line `started` and give it as --port")
    print(link(admin, port, token))
    return 0


def link(admin: AdminAddress, port: int, token: str) -> str:
    """The link has the token in its fragment, which a browser does not send (RFC 3986 §3.5)."""
    host = f"[{admin.host}]" if ":" in admin.host else admin.host
    return f"http://{host}:{port}/#token={token}"


def _failed(why: str) -> int:
    print(f"sidecar: {why}", file=sys.stderr)
    return 1
