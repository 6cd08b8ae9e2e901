"""The commands: one module each, and one row each in the table of `cli`."""
