"""The machine beneath: limits and privileges, memory, the service manager."""
