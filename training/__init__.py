"""How the weights that visavis brings were made. Not part of the installed package."""
