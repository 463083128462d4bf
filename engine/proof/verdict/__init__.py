"""What the measures say together: the verdict with its reasons, the file and strength to use, and what to change."""
