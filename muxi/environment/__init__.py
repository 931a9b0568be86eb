"""Python environments for formations: which interpreter, what is in them, made once and shared."""
