"""Where frames come from: video files, pictures, test patterns, the built-in sample; one module a kind."""
