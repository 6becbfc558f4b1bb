"""Written text as it is said: numbers, dates, formulas, abbreviations."""
