"""What the camera shows: detections, the scene in words, and the overlay."""
