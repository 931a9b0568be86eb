"""Getting a newer program in the place of this one: found, fetched, checked, and put there in one step."""
