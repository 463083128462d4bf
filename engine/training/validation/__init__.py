"""After the run: the images from which a person judges which file is good."""
