"""One run on disk: its directory, event log, lock and commands, and the processes that carry it out."""
