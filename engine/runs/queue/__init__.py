"""Runs that wait for the GPU: kept in one file of the home, and started one after another by a process like a supervisor."""
