"""What runs and studies become and are read from, a folder for each format of several files; `kinds` lists them."""
