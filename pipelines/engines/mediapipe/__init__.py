"""Vision with MediaPipe Tasks: faces, hands, gestures, poses, outlines and things."""
