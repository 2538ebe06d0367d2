"""Runs one command of strangers on given files, within limits, and says how it ended."""
