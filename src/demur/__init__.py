"""Tell when an image classifier can be trusted, and make it decline when it should."""

__version__ = "0.1.0"
