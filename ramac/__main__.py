"""`python -m ramac ...` is the command line."""

from ramac import main

if __name__ == "__main__":
    main()
