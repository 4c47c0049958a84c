"""The self-audit: each thing that it guards is broken once, and named."""
