"""Reading print in pictures: where lines are, and what they say."""
