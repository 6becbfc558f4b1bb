"""``python -m server`` is ``visavis``."""

from server.cli.main import main

main()
