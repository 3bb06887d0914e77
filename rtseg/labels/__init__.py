"""Labels of a user's own: frames chosen from a video, masks made for correction, and other tools' formats."""
