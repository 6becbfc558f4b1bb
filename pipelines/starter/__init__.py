"""Small models that the project trains itself and ships: a conversation before anything is downloaded."""
