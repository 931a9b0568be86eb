"""The images that the MUXI runtime and its code runner come in: which there are, and which are here."""
