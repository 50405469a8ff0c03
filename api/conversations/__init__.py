"""The auto-responder and contacts over HTTP."""
