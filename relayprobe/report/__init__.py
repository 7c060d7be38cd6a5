"""What is told of a session: text, JSON, mail. Pure: it returns what is to be shown, and shows nothing."""
