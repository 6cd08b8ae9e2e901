"""The pictures of the documentation, made by a script: `make pictures`."""
