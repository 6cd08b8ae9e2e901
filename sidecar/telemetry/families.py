"""A table of all metrics: name, kind, labels, and how the values of several workers are merged.

Rules of this file: a metric without a row here does not exist; a label never contains a value that a client chose.
"""

from dataclasses import dataclass
from enum import Enum

LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds in seconds for durations that a client or the upstream waits for."""
SHORT = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.05,
    0.25,
    1.0,
    5.0,
)
"""Upper bounds in seconds for durations that should be microseconds."""


class Kind(Enum):
    """The kinds of metric (Prometheus text format 0.0.4)."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(Enum):
    """How the values of several workers are merged into one."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class Family:
    """One row: a metric and all its labelled children."""

    name: str
    """The exposed name; that of a counter ends in `_total`."""
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    merge: Merge = Merge.SUM
    buckets: tuple[float, ...] = ()


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"sidecar_{name}_total", Kind.COUNTER, text, labels)


def _gauge(name: str, text: str, *labels: str, merge: Merge = Merge.SUM) -> Family:
    return Family(f"sidecar_{name}", Kind.GAUGE, text, labels, merge)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Family:
    return Family(f"sidecar_{name}_seconds", Kind.HISTOGRAM, text, labels, Merge.SUM, buckets)


_ROWS = (
    # Requests
    _counter("requests", "Finished requests, by outcome.", "rule", "outcome", "reason"),
    _histogram("request_duration", "Time from a request's head to the end of its response.", LATENCY),
    _histogram("decision_duration", "Time of the decision, including questions to an issuer.", SHORT),
    _histogram(
        "upstream_duration", "Time from sending a request to the API to the head of its response.", LATENCY
    ),
    _counter("request_body_bytes", "Bytes of request bodies, and from clients through tunnels."),
    _counter("response_body_bytes", "Bytes of response bodies, and to clients through tunnels."),
    _counter("report_only", "Requests that passed only because of report only.", "rule", "reason"),
    _gauge(
        "report_only_ends_seconds",
        "End of report only, seconds since the epoch.",
        "kind",
        "name",
        merge=Merge.MIN,
    ),
    _counter("streams_ended", "Ended tunnels and long responses, by cause.", "by"),
    # Connections
    _counter(
        "tls_handshakes", "Finished TLS handshakes: full, resumed, or the cause of the failure.", "result"
    ),
    _counter(
        "tls_handshakes_negotiated",
        "Handshakes that succeeded, by TLS version, group and protocol.",
        "version",
        "group",
        "protocol",
    ),
    _gauge("upstream_bypassable", "1 while the API answers past the sidecar.", merge=Merge.MAX),
    _gauge("connections", "Client connections open now."),
    _counter("connections_accepted", "Client connections accepted."),
    _counter(
        "http2_glitches",
        "HTTP/2 requests that were cancelled or reset (reset), frames without a request (noise).",
        "kind",
    ),
    _counter("incidents", "Events that are not requests, by name.", "name"),
    _counter(
        "issued_tokens", "Access tokens that the authorization server issued, by their binding.", "binding"
    ),
    _counter(
        "client_keys_refresh",
        "Attempts to fetch the certificates that a client of the authorization server publishes.",
        "result",
    ),
    # Tokens and issuers
    _counter("token_cache", "Look-ups of verified tokens.", "result"),
    _gauge("requests_in_progress", "Requests in progress."),
    _gauge("http2_streams", "Requests under way that are streams of HTTP/2."),
    _gauge(
        "rule_requests_in_progress", "Requests in progress under rules with `concurrent_requests`.", "rule"
    ),
    _gauge("upstream_connections", "Connections to the upstream, open or opening."),
    _counter(
        "dpop_proofs",
        "DPoP proofs, by result: accepted, or the reason of the refusal.",
        "result",
    ),
    _gauge("dpop_used_proofs", "Used DPoP proofs held in memory, of 500,000."),
    _gauge("token_cache_entries", "Verified tokens held in memory."),
    _gauge(
        "jwks_age_seconds",
        "Seconds since an issuer's keys were last fetched completely.",
        "issuer",
        merge=Merge.MAX,
    ),
    _gauge(
        "jwks_staleness_budget_seconds",
        "Age at which an issuer's keys are no longer used.",
        "issuer",
        merge=Merge.MIN,
    ),
    _gauge("jwks_keys", "Usable keys of an issuer.", "issuer", merge=Merge.MIN),
    _gauge(
        "jwks_keys_skipped",
        "Keys of an issuer's set that cannot be used.",
        "issuer",
        "reason",
        merge=Merge.MAX,
    ),
    _counter("jwks_refresh", "Attempts to fetch an issuer's keys.", "issuer", "result"),
    _counter("introspection", "Introspection questions, by result.", "issuer", "result"),
    _gauge("introspection_cache_entries", "Answers about tokens held in memory.", "issuer"),
    _histogram(
        "introspection_duration",
        "Time that an issuer took to answer an introspection question.",
        LATENCY,
        "issuer",
    ),
    # Configuration
    _gauge(
        "certificate_not_after_seconds",
        "Expiry of a certificate in use, seconds since the epoch.",
        "file",
        merge=Merge.MIN,
    ),
    _gauge(
        "certificate_not_before_seconds",
        "Start of its validity, seconds since the epoch.",
        "file",
        merge=Merge.MAX,
    ),
    _gauge(
        "crl_next_update_seconds",
        "Expiry of a revocation list in use, seconds since the epoch.",
        "file",
        merge=Merge.MIN,
    ),
    _gauge(
        "crl_this_update_seconds", "Start of its validity, seconds since the epoch.", "file", merge=Merge.MAX
    ),
    _gauge(
        "configuration_generation", "Generation of the configuration in force; 1 at start.", merge=Merge.MIN
    ),
    _counter("configuration_reload", "Attempts to reload a changed configuration.", "result"),
    _gauge(
        "configuration_last_reload_seconds",
        "Time of the last reload, seconds since the epoch.",
        merge=Merge.MIN,
    ),
    _gauge(
        "configuration_stale",
        "1 while the configuration on disk is refused and the old one is in force.",
        merge=Merge.MAX,
    ),
    # The process
    _histogram("event_loop_lag", "How late the event loop ran a timer.", SHORT),
    _counter("log_lines_dropped", "Log lines lost because the reader of the log was too slow or gone."),
    _gauge(
        "log_buffered_bytes", "Bytes of log lines that wait to be written, and of places reserved for lines."
    ),
    _gauge("ready", "1 while this sidecar is ready for requests.", merge=Merge.MIN),
    _gauge("workers", "Worker processes alive."),
    _counter("worker_restarts", "Workers that ended unexpectedly and were started again."),
    _gauge(
        "build_info",
        "Always 1; the labels describe the build.",
        "version",
        "python",
        "openssl",
        "build",
        merge=Merge.MAX,
    ),
    Family("process_cpu_seconds_total", Kind.COUNTER, "User and system CPU time."),
    Family(
        "process_resident_memory_bytes", Kind.GAUGE, "Resident memory; shared pages count in each worker."
    ),
    Family("process_open_fds", Kind.GAUGE, "Open file descriptors."),
    Family("process_max_fds", Kind.GAUGE, "Limit of open file descriptors.", merge=Merge.MIN),
    Family(
        "process_start_time_seconds",
        Kind.GAUGE,
        "Start time of the process, seconds since the epoch.",
        merge=Merge.MIN,
    ),
)

FAMILIES = {family.name: family for family in _ROWS}
