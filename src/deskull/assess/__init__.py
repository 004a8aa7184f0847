"""How good is a mask, and how does it look."""
