"""What leaves a run for other people and programs: the report, and the file that is kept."""
