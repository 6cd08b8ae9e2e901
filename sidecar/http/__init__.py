"""The semantics of HTTP messages (RFC 9110), independent of the wire. Pure: no I/O, no event loop, no parser.

`message` has the messages themselves; `fields` and `response_fields` classify their header fields; `target` parses
the destination of a request. `intake` makes the input of the decision from a request, `answer` makes the response to
a denial. `identity` and `forwarding` write what the sidecar tells the upstream about the client; `redirects` rewrites
redirects for the client. `certificate_field` reads and writes a client certificate in a header field.
"""
