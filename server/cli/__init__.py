"""The command ``visavis``."""
