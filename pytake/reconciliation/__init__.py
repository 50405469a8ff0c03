"""What ended in Temporal without a record of ours: found, and put right."""
