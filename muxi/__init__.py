"""MUXI Server: deploys, supervises and proxies AI agent services on one machine."""

__version__ = "1.20261122.0"
