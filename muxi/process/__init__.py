"""One process of a formation: spawned, probed, kept running, stopped, its output read."""
