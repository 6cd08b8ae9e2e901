"""The servers of the process itself: health and metrics, and the admin page."""
