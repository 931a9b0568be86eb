"""Containers of an engine (Docker, Podman) as processes of formations, through the engine's own API."""
