"""Tasks on sound: what is said and by whom, what is heard, speech from text, and cleaner sound."""
