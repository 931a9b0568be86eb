"""The management API: a Quart-Trio application behind the listener."""
