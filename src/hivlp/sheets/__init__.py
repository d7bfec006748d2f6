"""Contact sheets: search results as one picture, with any script in the captions."""
