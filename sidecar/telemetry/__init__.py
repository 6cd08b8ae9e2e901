"""What happened, told: one record for each exchange, from which log lines, metrics, traces and the use by clients come.

`record` and `observer` are told; `access` and `journal` write lines to the `sink`; `metrics` counts, `families` says
what there is to count, `exposition` shows it; `adoption` knows what each client uses; `tracing` exports spans.
"""
