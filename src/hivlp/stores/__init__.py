"""Where items and their vectors live while they are searched: on this machine, or on a server."""
