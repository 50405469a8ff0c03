"""PyTake: a WhatsApp Business messaging backend, durable on Temporal."""

__version__ = "0.1.0"
