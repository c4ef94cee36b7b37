"""The front door: command line, platform, service."""
