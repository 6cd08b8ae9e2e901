"""The one place where the core meets its ports."""
