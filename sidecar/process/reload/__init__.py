"""Changed configuration: noticed, read in a process of its own, and handed over."""
