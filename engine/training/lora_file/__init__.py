"""LoRA files: written in the names that other programs read, checked, and read back, whatever program made them."""
