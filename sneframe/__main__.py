"""``python -m sneframe``: the command line."""

from sneframe.cli import main

if __name__ == "__main__":
    main()
