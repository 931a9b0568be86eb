"""Keeping a native formation's process apart from the rest of the machine, as far as Linux lets us."""
