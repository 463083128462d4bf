"""Settings of other trainers, read: each value with what becomes of it, and the recipe that comes of them all."""
