"""The server as a service of the machine: started with it, ended with it, by the system's own manager."""
