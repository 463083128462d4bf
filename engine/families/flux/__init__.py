"""All that is FLUX.1-dev's own."""
