"""What Office 365 demands and answers, as dated data with sources."""
