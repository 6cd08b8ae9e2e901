"""The serving part: one process, or a supervisor and its workers."""
