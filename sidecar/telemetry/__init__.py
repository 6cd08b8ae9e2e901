"""Telemetry: one record for each exchange, the basis of log lines, metrics, traces and the use by clients.

`record` and `observer` receive events; `access` and `journal` write lines to the `sink`; `metrics` counts, `families`
defines the metrics, `exposition` renders them; `adoption` counts the use by each client; `tracing` exports spans.
"""
