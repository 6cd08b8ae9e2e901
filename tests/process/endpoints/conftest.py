"""A browser's time."""

from playwright.sync_api import expect

expect.set_options(
    timeout=60_000
)  # milliseconds; by default five seconds, too few for a browser on a busy machine
