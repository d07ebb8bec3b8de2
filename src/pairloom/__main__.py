"""`python -m pairloom`: the command line, where its script is not on the path."""

from pairloom.cli import main

if __name__ == "__main__":
    main()
