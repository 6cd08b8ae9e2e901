"""Several workers under one supervisor, and the channel between them."""
