"""What this site can reach, and what its DNS says: the same questions that Office 365 and its administrators ask."""
