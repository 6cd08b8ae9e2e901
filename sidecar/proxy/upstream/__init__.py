"""The way to the protected resource: pooled connections over several transports."""
