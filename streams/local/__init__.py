"""The local stack: the real services, on the loopback address, from pip packages alone."""
