"""What a road scene means: where the camera looks, lanes, obstacles, events."""
