"""What is done when a run has ended: its files are copied away, a command is run, somebody is told, the rented pod is stopped."""
