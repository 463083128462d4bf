"""What is measured of the samples while a run trains: in a process of low priority, beside the training."""
