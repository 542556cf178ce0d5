"""``python -m emoser_lib.cli``."""

from emoser_lib.cli import main

if __name__ == "__main__":
    main()
