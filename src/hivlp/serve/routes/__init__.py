"""The routes of the service, one file a subject; each file has ``router(service)``."""
