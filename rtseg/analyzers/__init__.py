"""What reads meaning off masks: numbers for the records."""
