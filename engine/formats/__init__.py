"""File formats of LoRAs: names, headers and metadata, without torch."""
