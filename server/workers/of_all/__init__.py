"""What a front puts together of all its workers."""
