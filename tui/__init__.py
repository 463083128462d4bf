"""The terminal app and the `loratui` command."""
