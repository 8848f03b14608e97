"""`python -m n4a_store` is `n4a-store`."""

from n4a_store.cli.main import main

if __name__ == "__main__":
    main()
