"""The public port: the listener, and the streaming proxy to formations."""
