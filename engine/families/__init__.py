"""The base models, a folder for each family: all that differs between them stands here."""
