"""The only part of loratui that loads torch: one training run, and the pictures made with its result."""
