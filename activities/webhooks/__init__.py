"""Activities of webhook deliveries."""
