"""After the run: the pictures from which a person judges which file is good."""
