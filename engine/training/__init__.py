"""The only part of loratui that loads torch: one training run, and the images made with its result."""
