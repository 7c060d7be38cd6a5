"""The page and the HTTP API: what was captured, what is queued, and what is known, for people and for programs."""
