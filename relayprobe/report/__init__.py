"""What is told of a session, in all forms. Pure: it returns what is to be shown, and shows nothing."""
