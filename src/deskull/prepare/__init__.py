"""From a scan to what the network sees, and from its answer to a mask."""
