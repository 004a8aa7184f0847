"""Grids, volumes and the files that hold them."""
