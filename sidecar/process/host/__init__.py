"""The machine: limits and privileges, memory, the service manager."""
