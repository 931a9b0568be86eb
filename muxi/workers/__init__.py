"""More processes that proxy: how connections, routes and counts pass between them and the main one."""
