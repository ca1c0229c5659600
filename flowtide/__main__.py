"""``python -m flowtide`` is the command ``flowtide``."""

from flowtide.cli import main

if __name__ == "__main__":
    main()
