"""What the server says of itself: structured logs, and the audit trail."""
