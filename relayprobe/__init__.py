"""relayprobe: see why a device cannot send mail through Microsoft 365, and what to type into it."""

__version__ = "0.1.0"
