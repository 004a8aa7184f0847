"""From labelled heads to weights: index, data, synthesis, training, fine-tuning, export."""
