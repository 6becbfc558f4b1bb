"""``python -m server`` is ``visavis``."""

from server.cli import main

main()
