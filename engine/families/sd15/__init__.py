"""All that is SD1.5's own."""
