"""One worker: the data plane and what feeds it, built whole from a configuration and swapped at once."""
