"""What an HTTP message means (RFC 9110), whatever wire brought it. Pure: no I/O, no event loop, no parser.

`message` the messages themselves → `fields`, `response_fields` their header fields, sorted out → `target` where a
request goes. `intake` makes of a request what the decision is told, `answer` of a denial what the client is told.
`identity` and `forwarding` are what the sidecar says to the upstream of the client; `redirects` brings redirects
back to the client's side. `certificate_field` reads and writes a client certificate that comes in a header field.
"""
