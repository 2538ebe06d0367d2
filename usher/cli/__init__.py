"""The command `usher`."""
