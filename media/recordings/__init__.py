"""Files of sound and moving pictures, read as they arrive and written as they are made."""
