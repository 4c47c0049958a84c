"""One small module per receiver."""
