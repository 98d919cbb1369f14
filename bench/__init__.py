"""Measurements of speed: run by hand, never by the tests, except for a smoke of each so that it cannot rot."""

__owner__ = "pomona"
