"""Runs one untrusted command on given files within limits, and reports how it ended."""
