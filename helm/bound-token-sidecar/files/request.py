"""One request that must pass and one that must not; the hook of `helm test`."""

import http.client
import json
import pathlib
import ssl
import sys

host, port, allowed, refused = sys.argv[1:5]
credentials = pathlib.Path(sys.argv[5]) if len(sys.argv) > 5 else None


def ask(path, *, with_credentials):
    # This tests the sidecar's verdict. Callers check the name in its certificate.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    headers = {}
    if with_credentials:
        context.load_cert_chain(credentials / "tls.crt", credentials / "tls.key")
        headers["Authorization"] = "Bearer " + (credentials / "token").read_text().strip()
    connection = http.client.HTTPSConnection(host, int(port), timeout=10, context=context)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(4096)


status, _ = ask(allowed, with_credentials=credentials is not None)
print(f"allowed: GET {allowed} answered {status}")
passed = status < 400

status, body = ask(refused, with_credentials=False)
print(f"refused: GET {refused} without a token answered {status}")
if status not in (401, 403):
    passed = False
else:
    # The body says who refused: an API that refuses by itself would prove nothing.
    try:
        print(f"reason: {json.loads(body)['reason']}")
    except (ValueError, KeyError, TypeError):
        print("the refusal is not the sidecar's")
        passed = False
sys.exit(0 if passed else 1)
