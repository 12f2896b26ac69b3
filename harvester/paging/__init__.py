"""From targets to queries to pages: what to ask, how fast, how often, until when."""
