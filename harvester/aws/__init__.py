"""The only rooms that know the SDK."""
