"""The auto-responder's rules: what a contact said, which rule matches, what is answered. Pure."""
