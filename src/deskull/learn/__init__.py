"""From labelled heads to weights."""
