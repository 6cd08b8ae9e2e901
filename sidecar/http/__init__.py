"""What an HTTP message means (RFC 9110), whatever wire brought it. Pure: no I/O, no event loop, no parser.

`message` the messages themselves → `fields`, `response_fields` their header fields, sorted out → `target` where a
request goes. `identity` and `forwarding` are what the sidecar says to the upstream of the client.
"""
