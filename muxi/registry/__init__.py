"""What formations exist, on which ports they listen, and where requests for them go."""
