"""Tests, and the test bed they share (`tests.support`)."""
