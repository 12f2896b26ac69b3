"""Lines and where they go."""
