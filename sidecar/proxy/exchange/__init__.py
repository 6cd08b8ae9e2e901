"""One request and its answer: decided, forwarded or refused, and reported once."""
