"""The page for engineers, on loopback: live decisions with their reasons, and what the process knows of itself."""
