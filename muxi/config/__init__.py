"""The configuration: its schema, its files, and the paths of this machine."""
