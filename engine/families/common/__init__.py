"""What several families have in common, without torch: networks, layers and names of UNets, CLIP, T5 and AutoencoderKL."""
