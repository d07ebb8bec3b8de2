"""What one asks of a model. Asks for verbs, never for a type."""
