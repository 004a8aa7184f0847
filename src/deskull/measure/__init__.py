"""Numbers about masks: agreement, distances, volumes, doubts."""
