"""All that is SDXL's own."""
