"""A stored session and its mail as they are handed out: judged, as objects, and in every form of an export."""
