"""Where the log of a process goes."""

from sidecar.settings import Loaded
from sidecar.telemetry.configuration import Audit
from sidecar.telemetry.journal import Journal, adopt_library_logs
from sidecar.telemetry.sink import LineSink


def open_journal(loaded: Loaded, *, has_output: bool = True, is_shared: bool = False) -> Journal:
    """The journal that the configuration asks for; `is_shared` with other processes. Raises OSError."""
    settings = loaded.service.logging
    sink = LineSink(
        1 if has_output else -1,
        settings.file,
        settings.buffered_bytes,
        shared=is_shared,
        reserves=settings.audit is Audit.REQUIRED,
    )
    journal = Journal(sink, settings.format, settings.level)
    adopt_library_logs(journal)
    return journal
