"""Changed configuration: noticed, read in a child process, and handed over."""
