"""May this request pass? Pure: no I/O, no clock, no randomness, no logging; time is an argument.

Rules of this package. A check returns the evidence that it found, or raises `Denied`; nothing that is not there yet
can look as if it had passed. Whatever a client sent has one meaning or is refused. Above each MUST that is enforced
stands its RFC and section. Where a request goes, in order:

`request` the facts of it → `matching`, `template`, `path`, `query` which rule fits → `credentials` the one access
token → `strict`, `jose` a verified JWS → `profile` a `ValidatedToken` (`token`) → `terms` time, audience →
`confirmation` the binding → `condition`, `claim`, `client_certificate` what else the rule asks → `permit` or
`denial`, said by `challenge`, put into words by `explanation` and `diagnosis`. `policy` is what all of it is held
against, `ports` what it needs from outside, `cache` what need not be verified twice. `sidecar.authorizer` holds the
order.
"""
