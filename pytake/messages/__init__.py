"""Messages: content, acceptance, the gate, claims, receipts, records."""
