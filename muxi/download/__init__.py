"""Fetching files from the network: whole or not at all, and going on where it was cut off."""
