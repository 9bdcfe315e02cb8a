"""Run the command line as ``python -m sneframe``."""

from sneframe.cli import main

if __name__ == "__main__":
    main()
