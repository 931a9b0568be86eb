"""Who may manage the server: HMAC signatures, keys and credentials."""
