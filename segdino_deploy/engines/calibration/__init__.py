"""From an image stream to activation ranges."""
