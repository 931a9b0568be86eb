"""A formation: its bundle, its manifest, its releases on disk, and the operations on it."""
