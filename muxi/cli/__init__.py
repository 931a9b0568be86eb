"""The command line: `muxi-server`. One file a command; each talks to the server as any client does."""
