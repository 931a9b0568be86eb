"""Anonymous counts for the project, and the newest releases of the SDKs. See contributing/telemetry.md."""
