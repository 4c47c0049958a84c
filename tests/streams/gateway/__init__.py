"""The HTTP door, on a real port."""
