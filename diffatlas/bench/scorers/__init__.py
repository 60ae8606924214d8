"""What judges images."""
