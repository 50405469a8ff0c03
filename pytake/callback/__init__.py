"""Meta's callback: parsed, and made durable in one transaction."""
