"""What serves: in one process, or a supervisor and its workers."""
