"""Everything that loratui does, without a screen."""
