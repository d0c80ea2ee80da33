"""What made a risk high: modalities, words, regions of a photo, attributes, counterfactuals."""
