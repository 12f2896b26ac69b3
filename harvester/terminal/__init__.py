"""What a person sees: logs, progress, the summary, hints. Nothing else writes to a terminal."""
